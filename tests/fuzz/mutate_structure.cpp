// What wraps nodes: control flow, quantisation, functions.
#include "tests/fuzz/model_mutator.h"

namespace actmatch::fuzz {

// If, Loop or Scan around pieces of the graph itself; its body reads values from outside.
void ModelMutator::insert_control_flow(onnx::GraphProto& graph) {
  onnx::NodeProto node;
  static constexpr const char* kKinds[] = {"If", "Loop", "Scan", "SequenceMap"};
  const int kind = below(16) == 0 ? 3 : below(3);
  node.set_op_type(kKinds[kind]);
  const std::string name = fresh_name();
  node.add_output(name);
  for (int i = kind == 0 ? 1 : 1 + below(3); i > 0; --i) node.add_input(some_value(graph));
  for (int branch = kind == 0 ? 2 : 1; branch > 0; --branch) {
    auto& attribute = *node.add_attribute();
    attribute.set_type(onnx::AttributeProto::GRAPH);
    attribute.set_name(kind != 0 ? "body" : branch == 2 ? "then_branch" : "else_branch");
    auto& body = *attribute.mutable_g();
    for (int i = below(3); i > 0 && graph.node_size() > 0; --i) *body.add_node() = graph.node(below(graph.node_size()));
    for (auto& inner : *body.mutable_node()) {
      for (auto& output : *inner.mutable_output()) output += "_b";
      if (inner.attribute_size() > 8) inner.clear_attribute();
    }
    if (kind == 1) body.add_input()->set_name("i"), body.add_input()->set_name("c"), body.add_output()->set_name("c");
    for (int i = 2; kind != 0 && i < node.input_size(); ++i) body.add_input()->set_name("s" + std::to_string(i));
    body.add_output()->set_name(body.node_size() > 0 && body.node(0).output_size() > 0 ? body.node(0).output(0) : some_value(graph));
  }
  if (kind == 2) {
    auto& attribute = *node.add_attribute();
    attribute.set_name("num_scan_inputs");
    attribute.set_type(onnx::AttributeProto::INT);
    attribute.set_i(1);
  }
  *graph.add_node() = node;
  add_output(graph, name);
}

// The usual pair around some value.
void ModelMutator::insert_quantisation(onnx::GraphProto& graph) {
  const std::string name = fresh_name(), scale = fresh_name() + "s", zero = fresh_name() + "z";
  auto& s = *graph.add_initializer();
  s.set_name(scale), s.set_data_type(onnx::TensorProto::FLOAT);
  const int count = below(3) == 0 ? 1 + below(4) : 0;
  if (count > 0) s.add_dims(count);
  for (int i = 0; i < std::max(count, 1); ++i) s.add_float_data(below(4) ? 0.5f : real());
  auto& z = *graph.add_initializer();
  z.set_name(zero), z.set_data_type(below(2) ? onnx::TensorProto::UINT8 : onnx::TensorProto::INT8);
  *z.mutable_dims() = s.dims();
  for (int i = 0; i < std::max(count, 1); ++i) z.add_int32_data(below(256));
  auto& q = *graph.add_node();
  q.set_op_type(below(6) ? "QuantizeLinear" : "DynamicQuantizeLinear");
  q.add_input(some_value(graph)), q.add_input(scale), q.add_input(zero), q.add_output(name + "q");
  auto& d = *graph.add_node();
  d.set_op_type("DequantizeLinear");
  d.add_input(name + "q"), d.add_input(scale), d.add_input(zero), d.add_output(name);
  if (graph.node_size() > 2 && below(2)) {
    auto& reader = *graph.mutable_node(below(graph.node_size() - 2));
    if (reader.input_size() > 0) return reader.set_input(below(reader.input_size()), name);
  }
  add_output(graph, name);
}

// Moves a node into a function and leaves a call in its place.
void ModelMutator::make_function(onnx::ModelProto& model) {
  auto& graph = *model.mutable_graph();
  if (graph.node_size() == 0) return;
  auto& node = *graph.mutable_node(below(graph.node_size()));
  auto& function = *model.add_functions();
  function.set_name("F" + std::to_string(below(12) ? model.functions_size() : 1));  // rarely one that is there already
  function.set_domain("local");
  for (const auto& import : model.opset_import()) *function.add_opset_import() = import;
  onnx::NodeProto inner = node;
  for (int i = 0; i < inner.input_size(); ++i) {
    inner.set_input(i, "in" + std::to_string(i));
    function.add_input(inner.input(i));
  }
  for (int i = 0; i < inner.output_size(); ++i) {
    inner.set_output(i, "out" + std::to_string(i));
    function.add_output(inner.output(i));
  }
  for (auto& attribute : *inner.mutable_attribute()) {
    if (below(2)) continue;
    function.add_attribute(attribute.name());
    attribute.set_ref_attr_name(attribute.name());
  }
  *function.add_node() = inner;
  node.set_domain("local");
  node.set_op_type(function.name());
  bool imported = false;
  for (const auto& import : model.opset_import()) imported = imported || import.domain() == "local";
  if (!imported) {
    auto& import = *model.add_opset_import();
    import.set_domain("local");
    import.set_version(1);
  }
}

}  // namespace actmatch::fuzz
