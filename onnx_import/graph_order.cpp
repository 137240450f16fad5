#include "onnx_import/graph_order.h"

#include <functional>
#include <queue>

#include "engine/core/error.h"
#include "onnx_import/scopes.h"

namespace actmatch::onnx_import {
namespace {

constexpr size_t kMostNamed = 20;  // names in one message

[[noreturn]] void refuse(const ParsedModel& model, const std::string& what) {
  throw Error(ErrorCode::kFormat, "'" + model.path + "' " + what + "; export the model again");
}

std::unordered_map<std::string, int> find_producers(const ParsedModel& model) {
  std::unordered_map<std::string, int> producers;  // -1: an input or an initializer
  for (const auto& [name, entry] : model.weights.entries()) producers[name] = -1;
  for (const auto& name : model.unreadable) producers[name] = -1;
  for (const auto& input : model.inputs) producers[input.name] = -1;
  const auto& graph = model.graph();
  for (int i = 0; i < graph.node_size(); ++i)
    for (const std::string& output : graph.node(i).output())
      if (!output.empty() && !producers.emplace(output, i).second)
        refuse(model, "defines the value '" + output + "' twice (node '" + node_name(graph, i) + "')");
  return producers;
}

void refuse_undefined(const ParsedModel& model, const std::unordered_map<std::string, int>& producers) {
  std::string list;
  size_t count = 0;
  std::unordered_set<std::string> named;
  const auto note = [&](const std::string& value, const std::string& user) {
    if (value.empty() || producers.contains(value) || !named.insert(value).second) return;
    if (++count <= kMostNamed) list += (count > 1 ? ", '" : "'") + value + "' (" + user + ")";
  };
  const auto& graph = model.graph();
  for (int i = 0; i < graph.node_size(); ++i) {
    for (const std::string& input : graph.node(i).input()) note(input, "read by node '" + node_name(graph, i) + "'");
    for (const std::string& name : captured_values(graph.node(i))) note(name, "read inside of node '" + node_name(graph, i) + "'");
  }
  for (const auto& output : graph.output())
    note(output.name().empty() ? "an output without a name" : output.name(), "an output of the model");
  if (count > kMostNamed) list += " and " + std::to_string(count - kMostNamed) + " more";
  if (count > 0) refuse(model, "uses values that nothing defines: " + list);
}

}  // namespace

std::vector<int> topological_order(const ParsedModel& model) {
  const auto producers = find_producers(model);
  refuse_undefined(model, producers);

  const auto& graph = model.graph();
  std::vector<int> waiting_for(static_cast<size_t>(graph.node_size()), 0);
  std::vector<std::vector<int>> readers(waiting_for.size());
  for (int i = 0; i < graph.node_size(); ++i) {
    std::vector<std::string> read = captured_values(graph.node(i));
    read.insert(read.end(), graph.node(i).input().begin(), graph.node(i).input().end());
    for (const std::string& input : read) {
      const int producer = input.empty() ? -1 : producers.at(input);
      if (producer < 0) continue;
      ++waiting_for[static_cast<size_t>(i)];
      readers[static_cast<size_t>(producer)].push_back(i);
    }
  }
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;  // smallest index first keeps the file's order
  for (int i = 0; i < graph.node_size(); ++i)
    if (waiting_for[static_cast<size_t>(i)] == 0) ready.push(i);
  std::vector<int> order;
  while (!ready.empty()) {
    const int index = ready.top();
    ready.pop();
    order.push_back(index);
    for (int reader : readers[static_cast<size_t>(index)])
      if (--waiting_for[static_cast<size_t>(reader)] == 0) ready.push(reader);
  }
  for (int i = 0; i < graph.node_size(); ++i)
    if (waiting_for[static_cast<size_t>(i)] > 0) refuse(model, "has a cycle through node '" + node_name(graph, i) + "'");
  return order;
}

}  // namespace actmatch::onnx_import
