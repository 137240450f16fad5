// What the tests of the passes share.
#pragma once

#include "engine/graph/passes.h"
#include "tests/unit/graph_test_util.h"

namespace actmatch::test {

inline size_t count_of(const Graph& g, OpKind kind) {
  size_t count = 0;
  for (const Node& node : g.nodes()) count += node.op() == kind;
  return count;
}

inline ValueId unary(Graph& g, UnaryKind kind, ValueId x) { return g.add_node(name_of(kind), UnaryAttrs{kind}, {x}); }

// The statistics of a batch norm over `channels` channels: gamma, beta, mean, positive variance.
inline ValueId batch_norm(Graph& g, ValueId x, uint32_t seed) {
  const int64_t channels = g.value(x).shape[1];
  Tensor variance = noise({channels}, seed + 3);
  for (int64_t c = 0; c < channels; ++c) variance.data<float>()[c] = 1.5f + variance.data<float>()[c];
  std::vector<ValueId> inputs{x};
  for (uint32_t i = 0; i < 3; ++i) inputs.push_back(g.add_constant("stat", noise({channels}, seed + i)));
  inputs.push_back(g.add_constant("variance", variance));
  return g.add_node("bn", BatchNormAttrs{1e-3f}, inputs);
}

// Runs `pass` on a copy and compares every protected value; returns the rewritten graph.
template <class Pass>
Graph rewrite(const Graph& before, const std::vector<ValueId>& keep, Pass pass) {
  Graph after = before;
  pass(after, keep);
  std::map<ValueId, Tensor> inputs;
  for (ValueId id : before.inputs()) inputs[id] = noise(before.value(id).shape, 77 + static_cast<uint32_t>(id));
  const auto expected = run_graph(before, inputs), actual = run_graph(after, inputs);
  EXPECT_EQ(after.outputs(), before.outputs());
  std::vector<ValueId> ids = keep;
  ids.insert(ids.end(), before.outputs().begin(), before.outputs().end());
  for (ValueId id : ids) {
    EXPECT_EQ(after.value(id).name, before.value(id).name);
    EXPECT_EQ(after.value(id).shape, before.value(id).shape);
    const bool there = actual.count(id) > 0;
    EXPECT_TRUE(there) << "value " << id << " is no longer made";
    if (!there || before.value(id).dtype != DType::kF32) continue;
    const Tensor &e = expected.at(id), &a = actual.at(id);
    // Folded weights are rounded once more than the original ones, and the sums run over at most a hundred terms of magnitude 1:
    // 100 * 2^-24 = 6e-6.
    for (int64_t i = 0; i < e.count(); ++i) EXPECT_NEAR(a.data<float>()[i], e.data<float>()[i], 6e-6) << "value " << id << " at " << i;
  }
  return after;
}

inline const auto kSimplify = [](Graph& g, const std::vector<ValueId>& keep) { simplify(g, keep); };
inline const auto kFold = [](Graph& g, const std::vector<ValueId>& keep) { fold_batch_norm(g, keep); };
inline const auto kFuseGelu = [](Graph& g, const std::vector<ValueId>& keep) { fuse_gelu(g, keep); };
inline const auto kOptimise = [](Graph& g, const std::vector<ValueId>& keep) { optimise(g, keep); };

}  // namespace actmatch::test
