// Book-keeping shared by the passes: a pass walks the nodes once in topological order, changes or removes some, and commits. Values in
// `keep` and the graph's outputs are protected: whatever happens, they keep their id and their meaning.
#pragma once

#include <vector>

#include "engine/graph/graph.h"

namespace actmatch {

class Rewriter {
 public:
  Rewriter(Graph& graph, const std::vector<ValueId>& keep);

  size_t size() const { return nodes_.size(); }
  // The node with its inputs as they are after the changes so far.
  Node& node(size_t n);
  bool removed(size_t n) const { return removed_[n]; }
  // The position of the node that makes a value, -1 for inputs, constants and parameters.
  NodeId producer(ValueId value) const;
  // Nobody but one node's one input reads the value: its meaning may change together with that node.
  bool private_to_one_reader(ValueId value) const;

  void set_input(size_t n, size_t slot, ValueId value);
  // Another operator with the same output.
  void replace(size_t n, Attributes attrs, std::vector<ValueId> inputs);
  // Node n passes its first input on unchanged: its readers read that input instead. False, and nothing is changed, when protected
  // values on both sides forbid it.
  bool bypass(size_t n);
  // The producer of node n's input `slot`, which must be private to n, takes over making n's output. Its attributes and inputs are
  // the caller's business.
  void absorb_into_producer(size_t n, size_t slot);
  void commit();

 private:
  ValueId resolve(ValueId value) const;
  void count_input_uses(const Node& node, int by);
  void grow();  // passes add constants while they work

  Graph& graph_;
  std::vector<Node> nodes_;
  std::vector<bool> removed_;
  std::vector<ValueId> alias_;  // by value: what stands for it now
  std::vector<int> uses_;       // by value: input positions that read it
  std::vector<NodeId> producer_;
  std::vector<bool> protected_;
};

}  // namespace actmatch
