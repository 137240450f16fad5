// What is folded as a graph is built, and what is left to a backend because it would take too much memory or time.
#include <gtest/gtest.h>

#include "tests/unit/graph_test_util.h"

namespace actmatch {
namespace {

using test::floats;
using test::ints;

constexpr int64_t kMillion = int64_t{1} << 20;

// A table of a number, as 20 bytes in a file may ask for it.
ValueId table(Graph& graph, const Shape& shape) {
  return graph.add_node("table", ExpandAttrs{shape}, {graph.add_constant("one", Tensor::scalar(1.0f))});
}

// How many of a number of nodes, each made by `add` from its number, become constants.
template <class Add>
int64_t count_folded(const Graph& graph, int64_t nodes, Add add) {
  int64_t folded = 0;
  for (int64_t i = 0; i < nodes; ++i) folded += graph.is_constant(add(i)) ? 1 : 0;
  return folded;
}

TEST(HostBudget, ReadingALargeTableAgainAndAgain) {
  Graph graph;
  const ValueId x = table(graph, {16 * kMillion});
  ASSERT_TRUE(graph.is_constant(x));
  const auto sum = [&](int64_t i) { return graph.add_node("s" + std::to_string(i), ReduceAttrs{ReduceKind::kSum, {0}}, {x}); };
  EXPECT_EQ(count_folded(graph, 100, sum), 1) << "2^24 operations of 2^27 for the table, 2^26 for each sum";
  const Value& last = graph.value(graph.nodes().back().output);
  EXPECT_TRUE(last.unfolded);
  EXPECT_EQ(last.shape, Shape{1});
}

TEST(HostBudget, DearProducts) {
  Graph graph;
  const ValueId large = table(graph, {4096, 4096}), small = table(graph, {64, 64});
  const ValueId dear = graph.add_node("dear", MatMulAttrs{}, {large, large}),
                cheap = graph.add_node("cheap", MatMulAttrs{}, {small, small});
  EXPECT_FALSE(graph.is_constant(dear)) << "2^36 multiply-adds";
  ASSERT_TRUE(graph.is_constant(cheap));
  EXPECT_EQ(graph.value(cheap).constant->data<float>()[0], 64.0f);
}

TEST(HostBudget, ManyTables) {
  Graph graph;
  EXPECT_EQ(count_folded(graph, 10, [&](int64_t) { return table(graph, {16 * kMillion}); }), 4) << "of 2^26 bytes each";
  const ValueId x = table(graph, {kMillion * kMillion});
  EXPECT_TRUE(graph.value(x).unfolded);
}

TEST(HostBudget, WhatWasGivenMayBeCopiedFourTimes) {
  Graph graph;
  const ValueId given = graph.add_constant("given", Tensor(DType::kBool, {64 * kMillion}));
  const auto copy = [&](int64_t) { return graph.add_node("copy", UnaryAttrs{UnaryKind::kNot}, {given}); };
  EXPECT_EQ(count_folded(graph, 10, copy), 8) << "2^28 bytes and four times 2^26";
  const auto share = [&](int64_t) { return graph.add_node("share", ReshapeAttrs{{64, kMillion}}, {given}); };
  EXPECT_EQ(count_folded(graph, 1000, share), 1000) << "no copies";
}

TEST(HostBudget, ArithmeticOnShapesIsNotUsedUp) {
  Graph graph;
  while (graph.is_constant(table(graph, {kMillion}))) {
  }
  ValueId shape = graph.add_constant("shape", ints({2}, {3, 4}));
  const ValueId two = graph.add_constant("two", ints({1}, {2}));
  for (int i = 0; i < 1000; ++i) shape = graph.add_node("twice", BinaryAttrs{BinaryKind::kMax}, {shape, two});
  EXPECT_TRUE(graph.is_constant(shape));
}

TEST(HostBudget, WhatDependsOnAnInputIsNotCalledUnfolded) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::kF32, {1, 2}), c = table(graph, {kMillion * kMillion, 1});
  const ValueId sum = graph.add_node("sum", BinaryAttrs{BinaryKind::kAdd}, {c, graph.add_constant("y", floats({1, 2}, {1, 2}))});
  EXPECT_TRUE(graph.value(sum).unfolded) << "through another one";
  EXPECT_FALSE(graph.value(graph.add_node("z", BinaryAttrs{BinaryKind::kAdd}, {x, c})).unfolded);
  EXPECT_FALSE(graph.value(graph.add_node("r", UnaryAttrs{UnaryKind::kRelu}, {x})).unfolded);
}

// Weights of 64 MB: dequantised by channel, transposed there and back, cut and joined, as exports have it, and more than the
// base of the budget together.
TEST(HostBudget, LargeWeightsOfTheFileAreFolded) {
  Graph graph;
  const Tensor given(DType::kF32, {4096, 4096});
  ValueId w = graph.add_constant("w", given);
  const ValueId scale = graph.add_constant("scale", Tensor(DType::kF32, {4096, 1}));
  const auto then = [&](Attributes attrs, std::vector<ValueId> inputs) { w = graph.add_node("n", std::move(attrs), std::move(inputs)); };
  then(BinaryAttrs{BinaryKind::kSub}, {w, scale});
  then(BinaryAttrs{BinaryKind::kMul}, {w, scale});
  then(TransposeAttrs{{1, 0}}, {w});
  then(ReshapeAttrs{{4096, 64, 64}}, {w});
  then(TransposeAttrs{{1, 0, 2}}, {w});
  then(SliceAttrs{{0, 0, 0}, {1, 1, 1}, {64, 4096, 64}}, {w});
  then(ConcatAttrs{0}, {w});
  EXPECT_TRUE(graph.is_constant(w));
  EXPECT_TRUE(graph.nodes().empty());
}

}  // namespace
}  // namespace actmatch
