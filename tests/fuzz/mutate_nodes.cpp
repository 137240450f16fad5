// Operators and their attributes.
#include <iterator>

#include "tests/fuzz/model_mutator.h"

namespace actmatch::fuzz {
namespace {

// Names that mean something to some operator.
constexpr const char* kIntegerNames[] = {"axis", "keepdims", "group",     "ceil_mode",       "transA", "transB",   "to",
                                         "size", "mode",     "blocksize", "num_outputs",     "start",  "end",      "allowzero",
                                         "k",    "detect",   "largest",   "scan_input_axes", "upper",  "exclusive"};
constexpr const char* kListNames[] = {"axes",  "pads",  "strides",        "dilations",    "kernel_shape",        "perm",   "starts",
                                      "ends",  "split", "output_padding", "output_shape", "value_ints",          "scales", "sizes",
                                      "steps", "shape", "block_size",     "value_floats", "noop_with_empty_axes"};
constexpr const char* kFloatNames[] = {"alpha", "beta", "epsilon", "gamma", "bias", "lambd", "value_float", "min", "max", "cubic_coeff_a"};
constexpr const char* kTextNames[] = {"auto_pad",    "mode",      "coordinate_transformation_mode", "nearest_mode", "direction", "equation",
                                      "approximate", "reduction", "keep_aspect_ratio_policy"};
constexpr const char* kTexts[] = {
    "SAME_UPPER", "SAME_LOWER",   "VALID",      "NOTSET", "linear", "nearest",           "cubic", "reflect", "edge",
    "wrap",       "asymmetric",   "half_pixel", "floor",  "ceil",   "round_prefer_ceil", "DCR",   "CRD",     "tanh",
    "none",       "bij,bjk->bik", "ii->i",      "...",    "->"};

}  // namespace

void ModelMutator::mutate_attribute(onnx::AttributeProto& attribute, int depth) {
  if (below(40) == 0)
    return attribute.set_name(below(2) ? kIntegerNames[below(std::size(kIntegerNames))] : kListNames[below(std::size(kListNames))]);
  if (below(40) == 0) return attribute.set_type(static_cast<onnx::AttributeProto::AttributeType>(below(12)));
  if (below(40) == 0) return attribute.set_ref_attr_name(kIntegerNames[below(std::size(kIntegerNames))]);
  switch (attribute.type()) {
    case onnx::AttributeProto::INT: return attribute.set_i(number());
    case onnx::AttributeProto::FLOAT: return attribute.set_f(real());
    case onnx::AttributeProto::INTS: return mutate_list(attribute.mutable_ints());
    case onnx::AttributeProto::FLOATS: return mutate_list(attribute.mutable_floats());
    case onnx::AttributeProto::STRING: return attribute.set_s(kTexts[below(std::size(kTexts))]);
    case onnx::AttributeProto::TENSOR: return mutate_tensor(*attribute.mutable_t());
    case onnx::AttributeProto::GRAPH:
      if (depth < kDeepest) mutate_graph(*attribute.mutable_g(), depth + 1);
      return;
    default: return attribute.set_i(number());
  }
}

void ModelMutator::mutate_node(onnx::NodeProto& node, int depth) {
  if (node.attribute_size() == 0 || below(4) == 0) {
    if (below(30) == 0) return node.set_domain(below(2) ? "local" : "ai.onnx");
    return node.set_op_type(some_operator());
  }
  if (below(8) == 0) {
    node.mutable_attribute()->SwapElements(below(node.attribute_size()), node.attribute_size() - 1);
    return node.mutable_attribute()->RemoveLast();
  }
  mutate_attribute(*node.mutable_attribute(below(node.attribute_size())), depth);
}

void ModelMutator::add_attribute(onnx::NodeProto& node, const onnx::GraphProto& graph, int depth) {
  auto& attribute = *node.add_attribute();
  switch (below(depth < kDeepest ? 6 : 5)) {
    case 0:
      attribute.set_name(kFloatNames[below(std::size(kFloatNames))]);
      attribute.set_type(onnx::AttributeProto::FLOAT);
      return attribute.set_f(real());
    case 1:
      attribute.set_name(kTextNames[below(std::size(kTextNames))]);
      attribute.set_type(onnx::AttributeProto::STRING);
      return attribute.set_s(kTexts[below(std::size(kTexts))]);
    case 2:
      attribute.set_name(kListNames[below(std::size(kListNames))]);
      attribute.set_type(onnx::AttributeProto::INTS);
      for (int i = below(6); i > 0; --i) attribute.add_ints(number());
      return;
    case 3:
      attribute.set_name("value");
      attribute.set_type(onnx::AttributeProto::TENSOR);
      if (graph.initializer_size() > 0) *attribute.mutable_t() = graph.initializer(below(graph.initializer_size()));
      return;
    case 4:
      attribute.set_name(kIntegerNames[below(std::size(kIntegerNames))]);
      attribute.set_type(onnx::AttributeProto::INT);
      return attribute.set_i(number());
    default:
      attribute.set_name(below(2) ? "body" : "then_branch");
      attribute.set_type(onnx::AttributeProto::GRAPH);
      if (graph.node_size() > 0) *attribute.mutable_g()->add_node() = graph.node(below(graph.node_size()));
      if (graph.output_size() > 0) *attribute.mutable_g()->add_output() = graph.output(0);
  }
}

void ModelMutator::mutate_function(onnx::ModelProto& model) {
  if (model.functions_size() == 0) return make_function(model);
  auto& function = *model.mutable_functions(below(model.functions_size()));
  switch (below(7)) {
    case 0: return function.add_input("in" + std::to_string(below(4)));
    case 1: return function.add_output("out" + std::to_string(below(4)));
    case 2: return function.add_attribute(kIntegerNames[below(std::size(kIntegerNames))]);
    case 3: {  // calls another function, or itself
      auto& call = *function.add_node();
      call.set_domain("local");
      call.set_op_type(model.functions(below(model.functions_size())).name());
      call.add_input(function.input_size() > 0 ? function.input(0) : "");
      call.add_output(fresh_name());
      if (function.output_size() > 0 && below(2)) function.set_output(0, call.output(0));
      return;
    }
    case 4:
      if (function.opset_import_size() > 0) function.mutable_opset_import(0)->set_version(6 + below(22));
      return;
    case 5:
      if (below(8) == 0) function.set_name("F" + std::to_string(below(6)));
      return;
    default:
      if (function.node_size() > 0) mutate_node(*function.mutable_node(below(function.node_size())), 0);
  }
}

}  // namespace actmatch::fuzz
