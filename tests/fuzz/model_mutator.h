// Changes ONNX models (model_mutator.cpp, mutate_{data,nodes,structure}.cpp) in ways that keep them well-formed protobuf: what a fuzzer of
// bytes would take ages to find.
#pragma once

#include <random>
#include <string>

#include "onnx/onnx.pb.h"

namespace actmatch::fuzz {

inline constexpr int kDeepest = 4;  // subgraphs that mutations go down to

class ModelMutator {
 public:
  explicit ModelMutator(unsigned seed) : random_(seed) {}

  // One change: to the header, a tensor, an input or output, a node or its attributes, the wiring, a subgraph, a function.
  void mutate(onnx::ModelProto& model);
  // Takes something of another model over: nodes, initializers, an attribute, a function, or the graph as a subgraph.
  void cross(onnx::ModelProto& model, const onnx::ModelProto& other);

 private:
  int below(int n) { return n > 0 ? static_cast<int>(random_() % static_cast<unsigned>(n)) : 0; }
  int64_t number();
  float real();
  std::string fresh_name() { return "m" + std::to_string(random_() % 100000); }
  std::string some_operator();
  std::string some_value(const onnx::GraphProto& graph);
  template <class List>
  void mutate_list(List* list);

  void mutate_header(onnx::ModelProto& model);
  void mutate_graph(onnx::GraphProto& graph, int depth);
  void mutate_tensor(onnx::TensorProto& tensor);
  void resize_data(onnx::TensorProto& tensor);
  void mutate_some_tensor(onnx::GraphProto& graph);
  void mutate_type(onnx::ValueInfoProto& info);
  void mutate_ends(onnx::GraphProto& graph);
  void mutate_node(onnx::NodeProto& node, int depth);
  void mutate_attribute(onnx::AttributeProto& attribute, int depth);
  void add_attribute(onnx::NodeProto& node, const onnx::GraphProto& graph, int depth);
  void rewire(onnx::GraphProto& graph);
  void copy_node(onnx::GraphProto& graph);
  void remove_something(onnx::GraphProto& graph);
  void insert_control_flow(onnx::GraphProto& graph);
  void insert_quantisation(onnx::GraphProto& graph);
  void make_function(onnx::ModelProto& model);
  void mutate_function(onnx::ModelProto& model);
  void add_output(onnx::GraphProto& graph, const std::string& name);

  std::minstd_rand random_;
};

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

}  // namespace actmatch::fuzz
