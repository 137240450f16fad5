#include "engine/graph/rewriter.h"

#include <numeric>

#include "engine/core/error.h"

namespace actmatch {
namespace {

size_t index_of(ValueId id) { return static_cast<size_t>(id); }

}  // namespace

Rewriter::Rewriter(Graph& graph, const std::vector<ValueId>& keep) : graph_(graph), nodes_(graph.nodes()), removed_(nodes_.size()) {
  grow();
  for (ValueId id : keep) protected_.at(index_of(id)) = true;
  for (ValueId id : graph.outputs()) protected_.at(index_of(id)) = true;
  for (size_t n = 0; n < nodes_.size(); ++n) {
    producer_[index_of(nodes_[n].output)] = static_cast<NodeId>(n);
    count_input_uses(nodes_[n], 1);
  }
}

void Rewriter::grow() {
  const size_t before = alias_.size(), count = graph_.values().size();
  alias_.resize(count);
  std::iota(alias_.begin() + static_cast<std::ptrdiff_t>(before), alias_.end(), static_cast<ValueId>(before));
  uses_.resize(count);
  producer_.resize(count, -1);
  protected_.resize(count);
}

ValueId Rewriter::resolve(ValueId value) const {
  if (value == kNoValue) return value;
  while (index_of(value) < alias_.size() && alias_[index_of(value)] != value) value = alias_[index_of(value)];
  return value;
}

void Rewriter::count_input_uses(const Node& node, int by) {
  for (ValueId id : node.inputs)
    if (id != kNoValue) uses_[index_of(resolve(id))] += by;
}

Node& Rewriter::node(size_t n) {
  for (ValueId& id : nodes_[n].inputs) id = resolve(id);
  return nodes_[n];
}

NodeId Rewriter::producer(ValueId value) const {
  value = resolve(value);
  return index_of(value) < producer_.size() ? producer_[index_of(value)] : -1;
}

bool Rewriter::private_to_one_reader(ValueId value) const {
  value = resolve(value);
  return uses_.at(index_of(value)) == 1 && !protected_[index_of(value)] && producer_[index_of(value)] >= 0;
}

void Rewriter::set_input(size_t n, size_t slot, ValueId value) {
  std::vector<ValueId> inputs = node(n).inputs;
  if (slot >= inputs.size()) inputs.resize(slot + 1, kNoValue);
  inputs[slot] = value;
  replace(n, nodes_[n].attrs, std::move(inputs));
}

void Rewriter::replace(size_t n, Attributes attrs, std::vector<ValueId> inputs) {
  grow();
  count_input_uses(nodes_[n], -1);
  nodes_[n].attrs = std::move(attrs);
  nodes_[n].inputs = std::move(inputs);
  count_input_uses(node(n), 1);
}

bool Rewriter::bypass(size_t n) {
  const Node& passed = node(n);
  const ValueId from = passed.inputs[0], to = passed.output;
  if (!protected_[index_of(to)]) {
    alias_[index_of(to)] = from;
    uses_[index_of(from)] += uses_[index_of(to)] - 1;
  } else if (!protected_[index_of(from)] && producer_[index_of(from)] >= 0) {
    // The output's name has to stay, so the producer of the input makes it directly.
    const NodeId maker = producer_[index_of(from)];
    nodes_[static_cast<size_t>(maker)].output = to;
    producer_[index_of(to)] = maker;
    producer_[index_of(from)] = -1;
    alias_[index_of(from)] = to;
    uses_[index_of(to)] += uses_[index_of(from)] - 1;
  } else {
    return false;
  }
  removed_[n] = true;
  return true;
}

void Rewriter::absorb_into_producer(size_t n, size_t slot) {
  const Node& absorbed = node(n);
  const ValueId between = absorbed.inputs[slot];
  ACTMATCH_CHECK(private_to_one_reader(between), "a value with other readers loses its meaning");
  const NodeId maker = producer_[index_of(between)];
  count_input_uses(absorbed, -1);
  nodes_[static_cast<size_t>(maker)].output = absorbed.output;
  producer_[index_of(absorbed.output)] = maker;
  producer_[index_of(between)] = -1;
  removed_[n] = true;
}

void Rewriter::commit() {
  grow();
  std::vector<Node> remaining;
  for (size_t n = 0; n < nodes_.size(); ++n)
    if (!removed_[n]) remaining.push_back(std::move(node(n)));
  graph_.replace_nodes(std::move(remaining));
}

}  // namespace actmatch
