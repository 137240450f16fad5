#include "engine/graph/passes.h"

namespace actmatch {

void drop_dead_nodes(Graph& graph, const std::vector<ValueId>& keep) {
  std::vector<bool> live(graph.values().size());
  for (const auto* roots : {&graph.outputs(), &keep})
    for (ValueId id : *roots) live.at(static_cast<size_t>(id)) = true;
  std::vector<Node> remaining;
  for (size_t n = graph.nodes().size(); n-- > 0;) {
    const Node& node = graph.nodes()[n];
    if (!live[static_cast<size_t>(node.output)]) continue;
    for (ValueId id : node.inputs)
      if (id != kNoValue) live[static_cast<size_t>(id)] = true;
    remaining.push_back(node);
  }
  graph.replace_nodes({remaining.rbegin(), remaining.rend()});
  for (size_t v = 0; v < live.size(); ++v) {
    const auto id = static_cast<ValueId>(v);
    if (live[v] || !graph.is_constant(id)) continue;
    Value& dead = graph.mutable_value(id);
    dead.shape = {0};
    dead.constant = std::make_shared<const Tensor>(dead.dtype, dead.shape);
  }
}

void optimise(Graph& graph, const std::vector<ValueId>& keep, bool structure_only) {
  drop_dead_nodes(graph, keep);  // a reader that nobody needs would keep a batch norm from being folded
  simplify(graph, keep);         // and so would an identity in between
  fuse_gelu(graph, keep);
  fold_batch_norm(graph, keep, structure_only);
  drop_dead_nodes(graph, keep);
}

}  // namespace actmatch
