#include "tests/fuzz/model_mutator.h"

namespace actmatch::fuzz {

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
