#include "tests/fuzz/model_mutator.h"

#include <iterator>
#include <limits>

#include "onnx_import/op_registry.h"

namespace actmatch::fuzz {
namespace {

constexpr int kDeepest = 4;  // subgraphs that mutations go down to

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

int64_t ModelMutator::number() {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  static constexpr int64_t kTelling[] = {
      0, 1, -1, 2, 3, 4, -2, 5, 7, 8, 16, 17, 255, 1 << 16, 1 << 24, int64_t{1} << 31, int64_t{1} << 32, int64_t{1} << 40, kMax, -kMax - 1};
  return below(4) == 0 ? kTelling[below(std::size(kTelling))] : below(12) - 3;
}

float ModelMutator::real() {
  using Limits = std::numeric_limits<float>;
  static constexpr float kTelling[] = {0,
                                       -0.0f,
                                       1,
                                       -1,
                                       0.5f,
                                       2,
                                       1e-30f,
                                       Limits::denorm_min(),
                                       3e38f,
                                       -3e38f,
                                       Limits::infinity(),
                                       -Limits::infinity(),
                                       3e9f,
                                       1e19f,
                                       255,
                                       Limits::quiet_NaN()};
  return kTelling[below(std::size(kTelling))];
}

std::string ModelMutator::some_operator() {
  const auto entries = onnx_import::all_entries();
  return entries[static_cast<size_t>(below(static_cast<int>(entries.size())))].op;
}

std::string ModelMutator::some_value(const onnx::GraphProto& graph) {
  switch (below(8)) {
    case 0:
    case 1: return graph.input_size() > 0 ? graph.input(below(graph.input_size())).name() : "";
    case 2:
    case 3: return graph.initializer_size() > 0 ? graph.initializer(below(graph.initializer_size())).name() : "";
    case 4: return below(4) ? graph.output_size() > 0 ? graph.output(0).name() : "" : fresh_name();
    default: {
      if (graph.node_size() == 0) return "";
      const auto& node = graph.node(below(graph.node_size()));
      return node.output_size() > 0 ? node.output(below(node.output_size())) : "";
    }
  }
}

template <class List>
void ModelMutator::mutate_list(List* list) {
  using Element = std::decay_t<decltype(list->Get(0))>;
  const auto element = [&] { return std::is_floating_point_v<Element> ? static_cast<Element>(real()) : static_cast<Element>(number()); };
  switch (list->size() > 0 ? below(5) : 1) {
    case 0:
    case 3: list->Set(below(list->size()), element()); break;
    case 1: list->Add(element()); break;
    case 4: list->SwapElements(below(list->size()), below(list->size())); break;
    default: list->RemoveLast();
  }
}

void ModelMutator::mutate(onnx::ModelProto& model) {
  switch (below(16)) {
    case 0: return mutate_header(model);
    case 1: return make_function(model);
    case 2: return mutate_function(model);
    default: return mutate_graph(*model.mutable_graph(), 0);
  }
}

void ModelMutator::mutate_header(onnx::ModelProto& model) {
  if (model.opset_import_size() == 0) model.add_opset_import();
  auto& import = *model.mutable_opset_import(below(model.opset_import_size()));
  switch (below(6)) {
    case 0: return model.set_ir_version(below(16));
    case 1: return import.set_domain(below(2) ? "" : "local");
    case 2: model.add_opset_import()->set_domain(below(2) ? "com.microsoft" : "ai.onnx"); return;
    default: return import.set_version(6 + below(22));
  }
}

void ModelMutator::mutate_graph(onnx::GraphProto& graph, int depth) {
  switch (below(22)) {
    case 0:
    case 1: return mutate_some_tensor(graph);
    case 2:
    case 3: return mutate_ends(graph);
    case 4:
    case 5:
    case 6: return rewire(graph);
    case 7:
    case 8: return copy_node(graph);
    case 9: return remove_something(graph);
    case 10: return insert_control_flow(graph);
    case 11: return insert_quantisation(graph);
    case 12:
    case 13:
      if (graph.node_size() > 0) add_attribute(*graph.mutable_node(below(graph.node_size())), graph, depth);
      return;
    default:
      if (graph.node_size() == 0) return copy_node(graph);
      return mutate_node(*graph.mutable_node(below(graph.node_size())), depth);
  }
}

// Lengths that do not fit the extents, in every field that can hold data.
void ModelMutator::resize_data(onnx::TensorProto& tensor) {
  int64_t count = 1;
  for (int64_t extent : tensor.dims()) count = extent > 0 && extent < 64 && count < 4096 ? count * extent : count;
  static constexpr int kWidths[] = {1, 2, 4, 8};
  const int64_t bytes = below(3) ? count * kWidths[below(4)] : below(80);
  switch (below(3)) {
    case 0: {
      std::string raw(static_cast<size_t>(bytes), static_cast<char>(below(3)));
      if (!raw.empty()) raw[static_cast<size_t>(below(static_cast<int>(raw.size())))] = static_cast<char>(random_());
      tensor.clear_float_data(), tensor.clear_int32_data(), tensor.clear_int64_data(), tensor.clear_double_data();
      return tensor.set_raw_data(raw);
    }
    case 1: {  // the field the type asks for, as many as the extents say
      tensor.clear_raw_data(), tensor.clear_float_data(), tensor.clear_int32_data(), tensor.clear_int64_data();
      for (int64_t i = 0; i < std::min<int64_t>(count, 512); ++i) switch (tensor.data_type()) {
          case onnx::TensorProto::FLOAT: tensor.add_float_data(real()); break;
          case onnx::TensorProto::DOUBLE: tensor.add_double_data(real()); break;
          case onnx::TensorProto::INT64: tensor.add_int64_data(number()); break;
          case onnx::TensorProto::UINT32:
          case onnx::TensorProto::UINT64: tensor.add_uint64_data(static_cast<uint64_t>(number())); break;
          default: tensor.add_int32_data(static_cast<int32_t>(number()));
        }
      return;
    }
    default: {
      auto& entry = *tensor.add_external_data();
      static constexpr const char* kKeys[] = {"location", "offset", "length", "checksum"};
      static constexpr const char* kValues[] = {"weights.bin", "../x", "/etc/passwd", "-1", "18446744073709551616", "4", "", "\0x"};
      entry.set_key(kKeys[below(4)]);
      entry.set_value(kValues[below(std::size(kValues))]);
      tensor.set_data_location(onnx::TensorProto::EXTERNAL);
    }
  }
}

void ModelMutator::mutate_tensor(onnx::TensorProto& tensor) {
  switch (below(8)) {
    case 0:
    case 1: return mutate_list(tensor.mutable_dims());
    case 2: return tensor.set_data_type(below(28));
    case 3: return mutate_list(tensor.mutable_int64_data());
    case 4: return mutate_list(tensor.mutable_float_data());
    case 5: return mutate_list(tensor.mutable_int32_data());
    case 6:
      if (below(8) == 0) tensor.mutable_segment()->set_begin(number());
      tensor.set_data_location(onnx::TensorProto::DEFAULT);
      return tensor.clear_external_data();
    default: return resize_data(tensor);
  }
}

void ModelMutator::mutate_some_tensor(onnx::GraphProto& graph) {
  if (below(12) == 0) {
    auto& sparse = *graph.add_sparse_initializer();
    if (graph.initializer_size() > 0) *sparse.mutable_values() = graph.initializer(below(graph.initializer_size()));
    sparse.mutable_values()->set_name(below(2) ? fresh_name() : some_value(graph));
    sparse.mutable_indices()->set_data_type(onnx::TensorProto::INT64);
    for (int i = below(6); i > 0; --i) sparse.mutable_indices()->add_int64_data(number());
    sparse.mutable_indices()->add_dims(sparse.indices().int64_data_size());
    for (int i = below(4); i > 0; --i) sparse.add_dims(number());
    return;
  }
  if (graph.initializer_size() == 0 || below(10) == 0) {
    auto& tensor = *graph.add_initializer();
    tensor.set_name(below(3) ? fresh_name() : some_value(graph));
    tensor.set_data_type(1 + below(16));
    for (int i = below(4); i > 0; --i) tensor.add_dims(below(5));
    return resize_data(tensor);
  }
  mutate_tensor(*graph.mutable_initializer(below(graph.initializer_size())));
}

void ModelMutator::mutate_type(onnx::ValueInfoProto& info) {
  auto& tensor = *info.mutable_type()->mutable_tensor_type();
  auto& shape = *tensor.mutable_shape();
  switch (below(6)) {
    case 0: return tensor.set_elem_type(below(26));
    case 1: return shape.add_dim()->set_dim_value(number());
    case 2:
      if (shape.dim_size() > 0) shape.mutable_dim()->RemoveLast();
      return;
    case 3:
      if (shape.dim_size() > 0) shape.mutable_dim(below(shape.dim_size()))->set_dim_param(below(2) ? "N" : "H");
      return;
    case 4:
      if (below(4) == 0) return tensor.clear_shape();
      if (below(4) == 0) info.mutable_type()->mutable_sequence_type()->mutable_elem_type();  // in place of the tensor
      return;
    default:
      if (shape.dim_size() > 0) shape.mutable_dim(below(shape.dim_size()))->set_dim_value(number());
  }
}

void ModelMutator::mutate_ends(onnx::GraphProto& graph) {
  switch (below(6)) {
    case 0: {
      auto& input = *graph.add_input();
      if (graph.input_size() > 1) input = graph.input(below(graph.input_size() - 1));
      return input.set_name(below(3) ? fresh_name() : some_value(graph));
    }
    case 1: return add_output(graph, some_value(graph));
    case 2:
      if (graph.output_size() > 1) graph.mutable_output()->RemoveLast();
      return;
    case 3:
      if (graph.output_size() > 0) graph.mutable_output(below(graph.output_size()))->set_name(some_value(graph));
      return;
    default:
      if (graph.input_size() > 0) mutate_type(*graph.mutable_input(below(graph.input_size())));
  }
}

void ModelMutator::rewire(onnx::GraphProto& graph) {
  if (graph.node_size() == 0) return;
  auto& node = *graph.mutable_node(below(graph.node_size()));
  switch (below(8)) {
    case 0: return node.add_input(some_value(graph));
    case 1:
      if (node.input_size() > 0) node.mutable_input()->RemoveLast();
      return;
    case 2: return node.add_output(fresh_name());
    case 3:
      if (node.output_size() > 0) node.set_output(below(node.output_size()), below(3) ? fresh_name() : some_value(graph));
      return;
    default:
      if (node.input_size() > 0) node.set_input(below(node.input_size()), below(12) ? some_value(graph) : "");
  }
}

void ModelMutator::add_output(onnx::GraphProto& graph, const std::string& name) {
  if (graph.output_size() == 0 || below(3) == 0) graph.add_output();
  graph.mutable_output(below(graph.output_size()))->set_name(name);
}

// A new last node, so that operators meet in ways no corpus has.
void ModelMutator::copy_node(onnx::GraphProto& graph) {
  onnx::NodeProto node;
  if (graph.node_size() > 0) node = graph.node(below(graph.node_size()));
  node.clear_output();
  const std::string name = fresh_name();
  node.add_output(name);
  if (below(2)) node.set_op_type(some_operator());
  if (node.input_size() > 0) node.set_input(0, some_value(graph));
  *graph.add_node() = node;
  add_output(graph, name);
}

void ModelMutator::remove_something(onnx::GraphProto& graph) {
  const auto remove = [&](auto* list) {
    if (list->empty()) return;
    list->SwapElements(below(list->size()), list->size() - 1);
    list->RemoveLast();
  };
  switch (below(5)) {
    case 0: return remove(graph.mutable_initializer());
    case 1: return remove(graph.mutable_input());
    case 2: return remove(graph.mutable_sparse_initializer());
    default: return remove(graph.mutable_node());
  }
}

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

void ModelMutator::cross(onnx::ModelProto& model, const onnx::ModelProto& other) {
  auto& graph = *model.mutable_graph();
  const auto& from = other.graph();
  switch (below(5)) {
    case 0:
      if (other.functions_size() > 0) {  // nobody calls it yet
        auto& function = *model.add_functions();
        function = other.functions(below(other.functions_size()));
        return function.set_name("F" + std::to_string(model.functions_size()));
      }
      [[fallthrough]];
    case 1: {  // a stretch of nodes with the initializers they read
      const int first = below(from.node_size());
      for (int i = first; i < std::min(from.node_size(), first + 1 + below(4)); ++i) {
        auto& node = *graph.add_node();
        node = from.node(i);
        for (const auto& tensor : from.initializer())
          for (const auto& input : node.input())
            if (input == tensor.name()) *graph.add_initializer() = tensor;
        if (node.input_size() > 0) node.set_input(0, some_value(graph));
        for (auto& output : *node.mutable_output()) {
          output += "_x" + std::to_string(below(100));
          add_output(graph, output);
        }
      }
      return;
    }
    case 2:
      if (from.initializer_size() > 0 && graph.initializer_size() > 0) {
        auto& tensor = *graph.mutable_initializer(below(graph.initializer_size()));
        const std::string name = tensor.name();
        tensor = from.initializer(below(from.initializer_size()));
        tensor.set_name(name);
      }
      return;
    case 3:
      if (from.node_size() > 0 && graph.node_size() > 0) {
        const auto& node = from.node(below(from.node_size()));
        auto& target = *graph.mutable_node(below(graph.node_size()));
        target.set_op_type(node.op_type());
        *target.mutable_attribute() = node.attribute();
      }
      return;
    default: {
      auto& node = *graph.add_node();
      node.set_op_type("If");
      node.add_input(some_value(graph));
      const std::string name = fresh_name();
      node.add_output(name);
      for (const char* branch : {"then_branch", "else_branch"}) {
        auto& attribute = *node.add_attribute();
        attribute.set_name(branch);
        attribute.set_type(onnx::AttributeProto::GRAPH);
        *attribute.mutable_g() = from;
        attribute.mutable_g()->clear_input();
      }
      add_output(graph, name);
    }
  }
}

}  // namespace actmatch::fuzz
