// Building a graph: names, errors, constant folding while building, and its text form.
#include "engine/graph/graph.h"

#include "tests/unit/graph_test_util.h"

namespace actmatch {
namespace {

using namespace test;

TEST(Graph, InfersShapesAndLinksProducers) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2, 3, 8, 8});
  const ValueId w = g.add_constant("w", Tensor(DType::kF32, {4, 3, 3, 3}));
  const ValueId y = g.add_node("conv", ConvAttrs{}, {x, w});
  const ValueId z = g.add_node("relu", UnaryAttrs{UnaryKind::kRelu}, {y}, "activated");
  g.mark_output(z);
  EXPECT_EQ(g.value(y).shape, (Shape{2, 4, 6, 6}));
  EXPECT_EQ(g.value(y).name, "conv") << "an output without a name of its own is called after its node";
  EXPECT_EQ(g.value(z).producer, 1);
  EXPECT_EQ(g.find("activated"), z);
  EXPECT_EQ(g.find("nothing"), kNoValue);
  EXPECT_EQ(g.inputs(), std::vector<ValueId>{x});
  EXPECT_EQ(g.outputs(), std::vector<ValueId>{z});
}

TEST(Graph, ErrorsNameTheNodeTheOperatorAndBothShapes) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {1, 3, 8, 8});
  const ValueId w = g.add_constant("w", Tensor(DType::kF32, {4, 5, 3, 3}));
  const std::string message = error_of([&] { g.add_node("layer1.conv", ConvAttrs{}, {x, w}); });
  expect_mentions(message, {"layer1.conv", "Conv", "1x3x8x8", "4x5x3x3"});
  EXPECT_TRUE(g.nodes().empty()) << "a failed node leaves nothing behind";
  expect_mentions(error_of([&] { g.add_node("n", BinaryAttrs{BinaryKind::kMul}, {x}); }), {"(Mul)", "takes 2 inputs, got 1"});
  expect_mentions(error_of([&] { g.add_node("n", ConvAttrs{}, {x, w, x, x}); }), {"takes 2 to 3 inputs, got 4"});
  expect_mentions(error_of([&] { g.add_node("n", ConcatAttrs{}, {}); }), {"takes 1 or more inputs, got 0"});
  expect_mentions(error_of([&] { g.add_node("n", ConvAttrs{}, {x, kNoValue}); }), {"input 1 is left out"});
}

TEST(Graph, ParametersAreFoundAndNeverFolded) {
  Graph g;
  const ValueId p = g.add_parameter("p", floats({2}, {1, 2}));
  const ValueId y = g.add_node("neg", UnaryAttrs{UnaryKind::kNeg}, {p});
  EXPECT_EQ(g.parameters(), std::vector<ValueId>{p});
  EXPECT_EQ(g.value(y).kind, ValueKind::kActivation);
  expect_mentions(error_of([&] { g.add_parameter("q", ints({1}, {1})); }), {"'q'", "int64"});
}

TEST(Graph, ConsumersListANodeOnceEvenWhenItReadsTwice) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2});
  g.add_node("square", BinaryAttrs{BinaryKind::kMul}, {x, x});
  g.add_node("neg", UnaryAttrs{UnaryKind::kNeg}, {x});
  EXPECT_EQ(g.consumers()[static_cast<size_t>(x)], (std::vector<NodeId>{0, 1}));
}

// What PyTorch writes for x.view(x.size(0), -1): Shape -> Gather -> Unsqueeze -> Concat -> Reshape. With static shapes the importer
// starts from a constant, and nothing but the final reshape may remain.
TEST(Graph, FoldsAPyTorchShapeChain) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2, 3, 4});
  const ValueId shape = g.add_constant("shape", ints({3}, {2, 3, 4}));
  const ValueId zero = g.add_constant("zero", ints({}, {0}));
  const ValueId minus_one = g.add_constant("minus_one", ints({1}, {-1}));
  const ValueId batch = g.add_node("gather", GatherAttrs{0}, {shape, zero});
  const ValueId batch1 = g.add_node("unsqueeze", ReshapeAttrs{{1}}, {batch});
  const ValueId target = g.add_node("concat", ConcatAttrs{0}, {batch1, minus_one}, "target");
  ASSERT_TRUE(g.is_constant(target));
  EXPECT_EQ(list<int64_t>(*g.value(target).constant), (std::vector<int64_t>{2, -1}));
  EXPECT_EQ(g.find("target"), target);
  g.mark_output(g.add_node("reshape", ReshapeAttrs{{2, 12}}, {x}));
  EXPECT_EQ(g.nodes().size(), 1u);
}

TEST(Graph, FoldingNamesTheNodeThatHasNoResult) {
  Graph g;
  const ValueId a = g.add_constant("a", ints({2}, {4, 5})), b = g.add_constant("b", ints({2}, {2, 0}));
  expect_mentions(error_of([&] { g.add_node("quotient", BinaryAttrs{BinaryKind::kDiv}, {a, b}); }), {"quotient", "Div", "5 by zero"});
}

TEST(Graph, RefusesShapesThatCannotBeAddressed) {
  Graph g;
  const int64_t big = int64_t{1} << 32;
  error_of([&] { g.add_input("x", DType::kF32, {big, big}); }, ErrorCode::kUnsupported);
  error_of([&] { g.add_input("x", DType::kF32, {0, big, big}); }, ErrorCode::kUnsupported);
  error_of([&] { g.add_input("x", DType::kF32, {-1}); });
  const ValueId x = g.add_input("x", DType::kF32, {1});
  expect_mentions(error_of([&] { g.add_node("e", ExpandAttrs{{big, big}}, {x}); }, ErrorCode::kUnsupported), {"'e' (Expand)"});
}

TEST(Graph, ReplaceNodesRefreshesProducersAndChecksTheOrder) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2});
  const ValueId a = g.add_node("a", UnaryAttrs{UnaryKind::kNeg}, {x});
  const ValueId b = g.add_node("b", UnaryAttrs{UnaryKind::kAbs}, {a});
  std::vector<Node> nodes = g.nodes();
  error_of([&] { g.replace_nodes({nodes[1], nodes[0]}); }, ErrorCode::kInternal);
  error_of([&] { g.replace_nodes({nodes[0], nodes[0]}); }, ErrorCode::kInternal);
  nodes[1].inputs = {x};
  g.replace_nodes({nodes[1]});
  EXPECT_EQ(g.value(a).producer, -1);
  EXPECT_EQ(g.value(b).producer, 0);
}

TEST(Graph, DumpHasOneLineANode) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {1, 3, 8, 8});
  const ValueId w = g.add_constant("w", Tensor(DType::kF32, {4, 3, 3, 3}));
  const ValueId y = g.add_node("conv", ConvAttrs{{2, 2}, {1, 1, 1, 1}}, {x, w});
  g.mark_output(g.add_node("clip", UnaryAttrs{UnaryKind::kClip, 0, 6}, {y}));
  EXPECT_EQ(g.dump(),
            "input %0 \"x\" 1x3x8x8\n"
            "%2 \"conv\" 1x4x4x4 = Conv(%0, %1:4x3x3x3) strides=2,2 pads=1,1,1,1\n"
            "%3 \"clip\" 1x4x4x4 = Clip(%2) beta=6\n"
            "output %3 \"clip\" 1x4x4x4\n");
}

TEST(OpTable, HasOneRowForEachKindInOrder) {
  ASSERT_EQ(all_ops().size(), std::variant_size_v<Attributes>);
  for (size_t i = 0; i < all_ops().size(); ++i) {
    EXPECT_EQ(static_cast<size_t>(all_ops()[i].kind), i) << all_ops()[i].name;
    EXPECT_STREQ(name_of(all_ops()[i].kind), all_ops()[i].name);
  }
  EXPECT_STREQ(name_of(UnaryKind::kHardSwish), "HardSwish");
  EXPECT_STREQ(name_of(BinaryKind::kGreaterOrEqual), "GreaterOrEqual");
}

TEST(OpTable, CountsMultiplyAdds) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2, 4, 6, 6});
  const ValueId w = g.add_input("w", DType::kF32, {8, 2, 3, 3});
  const ValueId wt = g.add_input("wt", DType::kF32, {4, 3, 2, 2});
  const ValueId a = g.add_input("a", DType::kF32, {5, 7, 3}), b = g.add_input("b", DType::kF32, {7, 4});
  g.add_node("conv", ConvAttrs{{1, 1}, {0, 0, 0, 0}, {1, 1}, 2}, {x, w});
  g.add_node("deconv", ConvTransposeAttrs{}, {x, wt});
  g.add_node("matmul", MatMulAttrs{true, false}, {a, b});
  g.add_node("relu", UnaryAttrs{}, {x});
  g.add_node("parts", ConvAttrs{{1, 1}, {0, 0, 0, 0}, {1, 1}, 2}, {x, g.add_input("w2", DType::kF32, {2, 8, 2, 3, 3})});
  g.add_node("parts of deconv", ConvTransposeAttrs{}, {x, g.add_input("wt2", DType::kF32, {2, 4, 3, 2, 2})});
  const auto count = [&](NodeId n) { return op_info(g.node(n).op()).multiply_adds(g, g.node(n)); };
  EXPECT_EQ(count(0), 2 * 8 * 4 * 4 * (2 * 3 * 3));
  EXPECT_EQ(count(1), 2 * 4 * 6 * 6 * (3 * 2 * 2));
  EXPECT_EQ(count(2), 5 * 3 * 4 * 7);
  EXPECT_EQ(count(3), 0);
  EXPECT_EQ(count(4), count(0));
  EXPECT_EQ(count(5), count(1));
}

}  // namespace
}  // namespace actmatch
