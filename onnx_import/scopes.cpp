#include "onnx_import/scopes.h"

#include <unordered_set>

namespace actmatch::onnx_import {
namespace {

std::unordered_set<std::string> defined_in(const onnx::GraphProto& graph) {
  std::unordered_set<std::string> names;
  for (const auto& input : graph.input()) names.insert(input.name());
  for (const auto& tensor : graph.initializer()) names.insert(tensor.name());
  for (const auto& tensor : graph.sparse_initializer()) names.insert(tensor.values().name());
  for (const auto& node : graph.node()) names.insert(node.output().begin(), node.output().end());
  return names;
}

// Calls `action` for each graph in the node's attributes.
template <class Node, class Action>
void for_each_graph(Node& node, Action action) {
  for (int i = 0; i < node.attribute_size(); ++i) {
    if constexpr (std::is_const_v<Node>) {
      const auto& attribute = node.attribute(i);
      if (attribute.has_g()) action(attribute.g());
      for (const auto& graph : attribute.graphs()) action(graph);
    } else {
      auto& attribute = *node.mutable_attribute(i);
      if (attribute.has_g()) action(*attribute.mutable_g());
      for (auto& graph : *attribute.mutable_graphs()) action(graph);
    }
  }
}

void collect_captured(const onnx::GraphProto& graph, std::vector<std::string>& found) {
  const auto own = defined_in(graph);
  std::vector<std::string> read;
  for (const auto& node : graph.node()) {
    read.insert(read.end(), node.input().begin(), node.input().end());
    for_each_graph(node, [&](const onnx::GraphProto& inner) { collect_captured(inner, read); });
  }
  for (const auto& output : graph.output()) read.push_back(output.name());
  for (std::string& name : read)
    if (!name.empty() && !own.contains(name)) found.push_back(std::move(name));
}

void rename_captured(onnx::GraphProto& graph, const Renaming& names) {
  Renaming visible = names;
  for (const std::string& own : defined_in(graph)) visible.erase(own);
  if (visible.empty()) return;
  for (auto& node : *graph.mutable_node()) rename_values(node, visible);
  for (auto& output : *graph.mutable_output())
    if (const auto found = visible.find(output.name()); found != visible.end()) output.set_name(found->second);
}

}  // namespace

std::vector<std::string> captured_values(const onnx::NodeProto& node) {
  std::vector<std::string> names;
  for_each_graph(node, [&](const onnx::GraphProto& graph) { collect_captured(graph, names); });
  return names;
}

void rename_values(onnx::NodeProto& node, const Renaming& names) {
  const auto rename = [&](std::string& name) {
    if (const auto found = names.find(name); found != names.end()) name = found->second;
  };
  for (auto& input : *node.mutable_input()) rename(input);
  for (auto& output : *node.mutable_output()) rename(output);
  for_each_graph(node, [&](onnx::GraphProto& graph) { rename_captured(graph, names); });
}

}  // namespace actmatch::onnx_import
