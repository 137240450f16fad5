// Batch norms and per-channel scales that move into weights, and those that must not.
#include "tests/unit/pass_test_util.h"

namespace actmatch {
namespace {

using namespace test;

TEST(FoldBatchNorm, IntoAConvolutionWithAndWithoutBias) {
  for (bool bias : {false, true}) {
    for (int64_t groups : {1, 2}) {
      Graph g;
      const ValueId x = g.add_input("x", DType::kF32, {2, 4, 5, 5}), w = g.add_constant("w", noise({6, 4 / groups, 3, 3}, 1));
      std::vector<ValueId> inputs{x, w};
      if (bias) inputs.push_back(g.add_constant("b", noise({6}, 2)));
      const ValueId y = g.add_node("conv", ConvAttrs{{1, 1}, {1, 1, 1, 1}, {1, 1}, groups}, inputs);
      const ValueId z = batch_norm(g, y, 10);
      g.mark_output(z);
      const Graph after = rewrite(g, {}, kOptimise);
      ASSERT_EQ(after.nodes().size(), 1u) << "bias " << bias << ", groups " << groups;
      EXPECT_EQ(after.nodes()[0].output, z);
    }
  }
}

TEST(FoldBatchNorm, IntoATransposedConvolutionWithGroups) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {1, 4, 3, 3}), w = g.add_constant("w", noise({4, 3, 2, 2}, 1));
  const ValueId y = g.add_node("deconv", ConvTransposeAttrs{{2, 2}, {0, 0, 0, 0}, {1, 1}, {0, 0}, 2}, {x, w});
  g.mark_output(batch_norm(g, y, 10));
  EXPECT_EQ(rewrite(g, {}, kOptimise).nodes().size(), 1u);
}

TEST(FoldBatchNorm, NotIntoWeightsForEachPartOfTheBatch) {
  for (const bool transposed : {false, true}) {
    Graph g;
    const ValueId x = g.add_input("x", DType::kF32, {4, 3, 5, 4}), w = g.add_constant("w", noise({2, 3, 3, 3, 2}, 1));
    const ValueId b = g.add_constant("b", noise({2, 3}, 2));
    const ValueId y = transposed ? g.add_node("deconv", ConvTransposeAttrs{}, {x, w, b}) : g.add_node("conv", ConvAttrs{}, {x, w, b});
    g.mark_output(batch_norm(g, y, 10));
    EXPECT_EQ(rewrite(g, {}, kOptimise).nodes().size(), 2u);
  }
}

TEST(FoldBatchNorm, ChainsOfChannelConstantsGoTheSameWay) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {1, 2, 5, 5}), w = g.add_constant("w", noise({3, 2, 3, 3}, 1));
  const ValueId column = g.add_constant("c", noise({3, 1, 1}, 2)), row = g.add_constant("r", noise({1, 3, 1, 1}, 3));
  const ValueId scalar = g.add_constant("s", floats({}, {2.5f}));
  ValueId v = g.add_node("conv", ConvAttrs{}, {x, w});
  v = batch_norm(g, v, 10);
  v = g.add_node("mul", BinaryAttrs{BinaryKind::kMul}, {column, v});
  v = g.add_node("add", BinaryAttrs{BinaryKind::kAdd}, {v, row});
  v = g.add_node("sub", BinaryAttrs{BinaryKind::kSub}, {v, column});
  v = g.add_node("from", BinaryAttrs{BinaryKind::kSub}, {row, v});
  v = g.add_node("div", BinaryAttrs{BinaryKind::kDiv}, {v, scalar});
  g.mark_output(v);
  EXPECT_EQ(rewrite(g, {}, kOptimise).nodes().size(), 1u);
}

TEST(FoldBatchNorm, LeavesOtherConstantsAlone) {
  struct Case {
    BinaryKind kind;
    Shape shape;
    bool constant_first;
  };
  const std::vector<Case> cases{{BinaryKind::kMul, {3}, false},           // along the width, which has 3 columns as well
                                {BinaryKind::kAdd, {3, 1}, false},        // along the height
                                {BinaryKind::kAdd, {2, 1, 1, 1}, false},  // by image
                                {BinaryKind::kDiv, {3, 1, 1}, true},      // c / x is not linear
                                {BinaryKind::kMax, {3, 1, 1}, false}};
  for (const Case& c : cases) {
    Graph g;
    const ValueId x = g.add_input("x", DType::kF32, {2, 2, 3, 3}), w = g.add_constant("w", noise({3, 2, 1, 1}, 1));
    const ValueId k = g.add_constant("k", noise(c.shape, 2));
    ValueId v = g.add_node("conv", ConvAttrs{}, {x, w});
    v = unary(g, UnaryKind::kExp, v);  // keeps c / x away from zero
    const ValueId conv2 = g.add_node("conv2", ConvAttrs{}, {v, g.add_constant("w2", floats({3, 3, 1, 1}, std::vector<float>(9, 1)))});
    g.mark_output(c.constant_first ? g.add_node("op", BinaryAttrs{c.kind}, {k, conv2}) : g.add_node("op", BinaryAttrs{c.kind}, {conv2, k}));
    EXPECT_EQ(rewrite(g, {}, kOptimise).nodes().size(), 4u) << name_of(c.kind) << ' ' << to_string(c.shape);
  }
}

TEST(FoldBatchNorm, BecomesScaleShiftWhereItCannotMove) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2, 3, 4, 4}), w = g.add_constant("w", noise({3, 3, 1, 1}, 1));
  const ValueId trained = g.add_parameter("trained", noise({3, 3, 1, 1}, 2));
  const ValueId at_input = batch_norm(g, x, 10);
  const ValueId shared = g.add_node("conv", ConvAttrs{}, {at_input, w});
  const ValueId behind_shared = batch_norm(g, shared, 20);
  const ValueId sum = g.add_node("add", BinaryAttrs{}, {shared, behind_shared});
  const ValueId behind_trained = batch_norm(g, g.add_node("conv2", ConvAttrs{}, {sum, trained}), 30);
  g.mark_output(behind_trained);
  const Graph after = rewrite(g, {}, kFold);
  EXPECT_EQ(count_of(after, OpKind::kBatchNorm), 0u);
  EXPECT_EQ(count_of(after, OpKind::kScaleShift), 3u);
  EXPECT_EQ(after.nodes().size(), g.nodes().size());
}

TEST(FoldBatchNorm, ATapOnTheConvolutionIsNotFoldedAway) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {1, 2, 4, 4}), w = g.add_constant("w", noise({3, 2, 1, 1}, 1));
  const ValueId y = g.add_node("conv", ConvAttrs{}, {x, w});
  g.mark_output(batch_norm(g, y, 10));
  EXPECT_EQ(rewrite(g, {y}, kOptimise).nodes().size(), 2u);
  EXPECT_EQ(rewrite(g, {}, kOptimise).nodes().size(), 1u);
}

TEST(FoldBatchNorm, NeighbouringScalesBecomeOne) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {1, 3, 4, 4});
  const ValueId v = batch_norm(g, batch_norm(g, x, 10), 20);
  g.mark_output(g.add_node("mul", BinaryAttrs{BinaryKind::kMul}, {v, g.add_constant("s", floats({1}, {3}))}));
  const Graph after = rewrite(g, {}, kOptimise);
  ASSERT_EQ(after.nodes().size(), 1u);
  EXPECT_EQ(after.nodes()[0].op(), OpKind::kScaleShift);
}

TEST(FoldBatchNorm, StatisticsThatAreNotConstantStay) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {1, 3, 4, 4}), s = g.add_input("s", DType::kF32, {3});
  g.mark_output(g.add_node("bn", BatchNormAttrs{}, {x, s, s, s, s}));
  Graph after = g;
  optimise(after);
  EXPECT_EQ(count_of(after, OpKind::kBatchNorm), 1u);
}

}  // namespace
}  // namespace actmatch
