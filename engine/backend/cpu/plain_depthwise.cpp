#include "engine/backend/cpu/plain_depthwise.h"

namespace actmatch::cpu {
namespace {

// Outputs a channel where the convolution is worth the copies, otherwise 0: below a vector of channels the general code does as well.
int64_t copies_of(const Graph& graph, const Node& node) {
  constexpr int64_t kFewestChannels = 16;
  const auto* conv = std::get_if<ConvAttrs>(&node.attrs);
  if (!conv || !graph.is_constant(node.inputs[1])) return 0;
  const Shape &x = graph.value(node.inputs[0]).shape, &w = graph.value(node.inputs[1]).shape;
  if (has_instances(w) || conv->groups != x[1] || x[1] < kFewestChannels || w[0] == x[1] || w[2] * w[3] == 1) return 0;
  return w[0] / x[1];
}

}  // namespace

Graph with_plain_depthwise(Graph graph) {
  std::vector<Node> nodes;
  bool changed = false;
  const auto add = [&](const Node& conv, Attributes attrs, Shape shape, ValueId x) {
    const std::string name = conv.name + "#copies";
    const ValueId y = graph.add_value({name, ValueKind::kActivation, DType::kF32, std::move(shape), nullptr, -1});
    nodes.push_back({name, std::move(attrs), {x}, y});
    return y;
  };
  for (Node node : graph.nodes()) {
    if (const int64_t copies = copies_of(graph, node); copies > 0) {
      const Shape x = graph.value(node.inputs[0]).shape;
      const Shape apart{x[0], x[1], 1, x[2] * x[3]}, copied{x[0], x[1], copies, x[2] * x[3]}, joined{x[0], x[1] * copies, x[2], x[3]};
      ValueId value = add(node, ReshapeAttrs{apart}, apart, node.inputs[0]);
      value = add(node, ExpandAttrs{copied}, copied, value);
      node.inputs[0] = add(node, ReshapeAttrs{joined}, joined, value);
      std::get<ConvAttrs>(node.attrs).groups = joined[1];
      changed = true;
    }
    nodes.push_back(std::move(node));
  }
  if (changed) graph.replace_nodes(std::move(nodes));
  return graph;
}

}  // namespace actmatch::cpu
