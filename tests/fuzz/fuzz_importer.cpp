// Fuzzes the importer: any bytes are parsed and, where they are a model, built at two batches and checked. Anything but an actmatch::Error
// is a finding, an internal error too. Mutations work on the fields of the file as well as on its bytes, since most changed bytes only
// break the encoding.
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>

#include "engine/core/error.h"
#include "onnx/onnx.pb.h"
#include "onnx_import/importer.h"
#include "onnx_import/op_registry.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using namespace actmatch;

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  void mutate(onnx::ModelProto& model) {
    onnx::GraphProto& graph = *model.mutable_graph();
    switch (below(10)) {
      case 0: return set_opset(model);
      case 1: return mutate_tensor(graph);
      case 2: return mutate_input(graph);
      case 3: return rewire(graph);
      case 4: return copy_node(graph);
      case 5: return add_attribute(graph);
      default: return graph.node_size() > 0 ? mutate_node(*graph.mutable_node(below(graph.node_size()))) : copy_node(graph);
    }
  }

 private:
  int below(int n) { return n > 0 ? static_cast<int>(random_() % static_cast<unsigned>(n)) : 0; }

  int64_t number() {
    constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
    static constexpr int64_t kTelling[] = {0, 1, -1, 2, 3, 4, -2, 7, 16, 255, 1 << 24, int64_t{1} << 31, int64_t{1} << 40, kMax, -kMax - 1};
    return below(3) ? kTelling[below(std::size(kTelling))] : below(64) - 16;
  }

  float real() {
    static constexpr float kTelling[] = {
        0, 1, -1, 0.5f, 2, 1e-30f, 3e38f, -3e38f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()};
    return kTelling[below(std::size(kTelling))];
  }

  void set_opset(onnx::ModelProto& model) {
    if (model.opset_import_size() == 0) model.add_opset_import();
    model.mutable_opset_import(0)->set_version(6 + below(18));
  }

  template <class List>
  void mutate_list(List* list) {
    switch (list->size() > 0 ? below(3) : 1) {
      case 0: list->Set(below(list->size()), number()); break;
      case 1: list->Add(number()); break;
      default: list->RemoveLast();
    }
  }

  void mutate_tensor(onnx::GraphProto& graph) {
    if (graph.initializer_size() == 0) return;
    auto& tensor = *graph.mutable_initializer(below(graph.initializer_size()));
    switch (below(4)) {
      case 0: return mutate_list(tensor.mutable_dims());
      case 1: return tensor.set_data_type(below(20));
      case 2: return mutate_list(tensor.mutable_int64_data());
      default:
        if (tensor.float_data_size() > 0) tensor.set_float_data(below(tensor.float_data_size()), real());
    }
  }

  void mutate_input(onnx::GraphProto& graph) {
    if (graph.input_size() == 0) return;
    auto& tensor = *graph.mutable_input(below(graph.input_size()))->mutable_type()->mutable_tensor_type();
    auto& shape = *tensor.mutable_shape();
    switch (below(4)) {
      case 0: return tensor.set_elem_type(below(18));
      case 1: return shape.add_dim()->set_dim_value(number());
      case 2:
        if (shape.dim_size() > 0) shape.mutable_dim()->RemoveLast();
        return;
      default:
        if (shape.dim_size() > 0) shape.mutable_dim(below(shape.dim_size()))->set_dim_value(number());
    }
  }

  std::string some_value(const onnx::GraphProto& graph) {
    switch (below(4)) {
      case 0: return graph.input_size() > 0 ? graph.input(below(graph.input_size())).name() : "";
      case 1: return graph.initializer_size() > 0 ? graph.initializer(below(graph.initializer_size())).name() : "";
      default: {
        if (graph.node_size() == 0) return "";
        const auto& node = graph.node(below(graph.node_size()));
        return node.output_size() > 0 ? node.output(below(node.output_size())) : "";
      }
    }
  }

  void rewire(onnx::GraphProto& graph) {
    if (graph.node_size() == 0) return;
    auto& node = *graph.mutable_node(below(graph.node_size()));
    if (node.input_size() > 0 && below(3))
      node.set_input(below(node.input_size()), some_value(graph));
    else if (below(2))
      node.add_input(some_value(graph));
    else if (node.input_size() > 0)
      node.mutable_input()->RemoveLast();
  }

  const char* some_operator() {
    const auto entries = onnx_import::all_entries();
    return entries[static_cast<size_t>(below(static_cast<int>(entries.size())))].op;
  }

  // A new last node, so that operators meet in ways no corpus has.
  void copy_node(onnx::GraphProto& graph) {
    onnx::NodeProto node;
    if (graph.node_size() > 0) node = graph.node(below(graph.node_size()));
    node.clear_output();
    const std::string name = "m" + std::to_string(random_());
    node.add_output(name);
    if (below(2)) node.set_op_type(some_operator());
    if (node.input_size() > 0) node.set_input(0, some_value(graph));
    *graph.add_node() = node;
    if (graph.output_size() == 0) graph.add_output();
    graph.mutable_output(0)->set_name(name);
  }

  void mutate_node(onnx::NodeProto& node) {
    if (node.attribute_size() == 0 || below(4) == 0) return node.set_op_type(some_operator());
    auto& attribute = *node.mutable_attribute(below(node.attribute_size()));
    switch (attribute.type()) {
      case onnx::AttributeProto::INT: return attribute.set_i(number());
      case onnx::AttributeProto::FLOAT: return attribute.set_f(real());
      case onnx::AttributeProto::INTS: return mutate_list(attribute.mutable_ints());
      default: return node.mutable_attribute()->RemoveLast();
    }
  }

  void add_attribute(onnx::GraphProto& graph) {
    static constexpr const char* kIntegers[] = {"axis",   "keepdims", "group",     "ceil_mode", "transA",
                                                "transB", "to",       "blocksize", "size",      "num_outputs"};
    static constexpr const char* kLists[] = {"axes",   "pads", "strides", "dilations",      "kernel_shape", "perm",
                                             "starts", "ends", "split",   "output_padding", "output_shape", "value_ints"};
    if (graph.node_size() == 0) return;
    auto& attribute = *graph.mutable_node(below(graph.node_size()))->add_attribute();
    if (below(2)) {
      attribute.set_name(kIntegers[below(std::size(kIntegers))]);
      attribute.set_type(onnx::AttributeProto::INT);
      attribute.set_i(number());
    } else {
      attribute.set_name(kLists[below(std::size(kLists))]);
      attribute.set_type(onnx::AttributeProto::INTS);
      for (int i = below(6); i > 0; --i) attribute.add_ints(number());
    }
  }

  std::minstd_rand random_;
};

// What every backend may rely on.
void check(const Graph& graph) {
  for (ValueId id : graph.outputs())
    if (id < 0 || static_cast<size_t>(id) >= graph.values().size()) __builtin_trap();
  for (const Node& node : graph.nodes())
    for (ValueId id : node.inputs)
      if (id != kNoValue && element_count(graph.value(id).shape) < 0) __builtin_trap();
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  onnx::ModelProto model;
  if (seed % 8 == 0 || !model.ParseFromArray(data, static_cast<int>(size))) return LLVMFuzzerMutate(data, size, max_size);
  Mutator mutator(seed);
  for (unsigned i = 0; i <= seed / 8 % 4; ++i) mutator.mutate(model);
  const std::string changed = model.SerializeAsString();
  if (changed.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::copy(changed.begin(), changed.end(), data);
  return changed.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto guarded = [](auto action) {
    try {
      action();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInternal) throw;
    }
  };
  guarded([&] {
    const auto model = onnx_import::Model::from_bytes(std::as_bytes(std::span(data, size)), "fuzz");
    model.problems();
    guarded([&] { check(model.build()); });
    guarded([&] { check(model.build({.batch = 3})); });
  });
  return 0;
}
