// The gradient schedule: which steps, in which order, with which flags, and what they keep from the forward pass.
#include "engine/graph/gradient.h"

#include <random>

#include "tests/unit/graph_test_util.h"

namespace actmatch {
namespace {

using namespace test;
using Flags = std::vector<bool>;

std::vector<NodeId> nodes_of(const GradientSchedule& s) {
  std::vector<NodeId> ids;
  for (const BackwardStep& step : s.steps) ids.push_back(step.node);
  return ids;
}

std::vector<ValueId> marked(const Flags& flags) {
  std::vector<ValueId> ids;
  for (size_t i = 0; i < flags.size(); ++i)
    if (flags[i]) ids.push_back(static_cast<ValueId>(i));
  return ids;
}

ValueId relu(Graph& g, ValueId x) { return g.add_node("relu", UnaryAttrs{UnaryKind::kRelu}, {x}); }
ValueId binary(Graph& g, BinaryKind kind, ValueId a, ValueId b) { return g.add_node(name_of(kind), BinaryAttrs{kind}, {a, b}); }

TEST(GradientSchedule, FrozenNetAsksForTheInputOnly) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {1, 3, 8, 8});
  const ValueId w = g.add_constant("w", noise({4, 3, 3, 3}, 1)), b = g.add_constant("b", noise({4}, 2));
  const ValueId y = g.add_node("conv", ConvAttrs{}, {x, w, b}), z = relu(g, y);
  const auto s = make_gradient_schedule(g, {{z}, {x}});
  EXPECT_EQ(nodes_of(s), (std::vector<NodeId>{1, 0}));
  EXPECT_EQ(s.steps[1].wanted, (Flags{true, false, false}));
  EXPECT_EQ(marked(s.has_gradient), (std::vector<ValueId>{x, y, z}));
  EXPECT_EQ(marked(s.saved), (std::vector<ValueId>{w, z})) << "relu reads its output, the convolution its weight, nobody x";
  EXPECT_EQ(marked(s.seeded), std::vector<ValueId>{z});
  EXPECT_TRUE(s.unreachable.empty());
}

// y = relu(x); out = y + conv(y): the gradient of y is written by one step and added to by the other.
TEST(GradientSchedule, DiamondAccumulates) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {1, 2, 4, 4});
  const ValueId w = g.add_constant("w", noise({2, 2, 1, 1}, 1));
  const ValueId y = relu(g, x), c = g.add_node("conv", ConvAttrs{}, {y, w});
  const ValueId out = binary(g, BinaryKind::kAdd, y, c);
  const auto s = make_gradient_schedule(g, {{out}, {x}});
  ASSERT_EQ(nodes_of(s), (std::vector<NodeId>{2, 1, 0}));
  EXPECT_EQ(s.steps[0].wanted, (Flags{true, true}));
  EXPECT_EQ(s.steps[0].accumulate, (Flags{false, false}));
  EXPECT_EQ(s.steps[1].accumulate, (Flags{true, false})) << "the shortcut has already written the gradient of y";
  EXPECT_EQ(s.steps[2].accumulate, (Flags{false}));
}

TEST(GradientSchedule, ATapIsASeedThatStepsAddTo) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2});
  const ValueId tap = g.add_node("exp", UnaryAttrs{UnaryKind::kExp}, {x}), logits = g.add_node("neg", UnaryAttrs{UnaryKind::kNeg}, {tap});
  const ValueId unused = relu(g, logits);
  const auto s = make_gradient_schedule(g, {{tap, logits}, {x}});
  ASSERT_EQ(nodes_of(s), (std::vector<NodeId>{1, 0})) << "nothing behind the last seed";
  EXPECT_EQ(s.steps[0].accumulate, (Flags{true}));
  EXPECT_EQ(s.steps[1].accumulate, (Flags{false}));
  EXPECT_FALSE(s.has_gradient[static_cast<size_t>(unused)]);
  EXPECT_EQ(marked(s.saved), std::vector<ValueId>{tap});
}

TEST(GradientSchedule, SquareReadsAndWritesItsInputTwice) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2});
  const ValueId y = binary(g, BinaryKind::kMul, x, x);
  const auto s = make_gradient_schedule(g, {{y}, {x}});
  ASSERT_EQ(s.steps.size(), 1u);
  EXPECT_EQ(s.steps[0].wanted, (Flags{true, true}));
  EXPECT_EQ(s.steps[0].accumulate, (Flags{false, true}));
  EXPECT_EQ(marked(s.saved), std::vector<ValueId>{x});
}

TEST(GradientSchedule, ParametersOnlyStopsAtTheFirstLayer) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {4, 3});
  const ValueId w1 = g.add_parameter("w1", noise({3, 5}, 1)), b1 = g.add_parameter("b1", noise({5}, 2));
  const ValueId w2 = g.add_parameter("w2", noise({5, 2}, 3));
  const ValueId h = g.add_node("fc1", MatMulAttrs{}, {x, w1, b1}), a = relu(g, h), y = g.add_node("fc2", MatMulAttrs{}, {a, w2});
  const auto s = make_gradient_schedule(g, {{y}, {w1, b1, w2}});
  ASSERT_EQ(nodes_of(s), (std::vector<NodeId>{2, 1, 0}));
  EXPECT_EQ(s.steps[2].wanted, (Flags{false, true, true})) << "nobody wants the gradient of x";
  EXPECT_EQ(s.steps[0].wanted, (Flags{true, true}));
  EXPECT_FALSE(s.has_gradient[static_cast<size_t>(x)]);
  EXPECT_EQ(marked(s.saved), (std::vector<ValueId>{x, w2, a}));

  const auto last = make_gradient_schedule(g, {{y}, {w2}});
  EXPECT_EQ(nodes_of(last), (std::vector<NodeId>{2}));
  EXPECT_EQ(last.steps[0].wanted, (Flags{false, true}));
  EXPECT_EQ(marked(last.saved), (std::vector<ValueId>{a}));
}

TEST(GradientSchedule, ReportsWantedValuesNoSeedDependsOn) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2}), other = g.add_input("other", DType::kF32, {2});
  const ValueId y = relu(g, x);
  relu(g, other);
  const auto s = make_gradient_schedule(g, {{y}, {other, x}});
  EXPECT_EQ(s.unreachable, std::vector<ValueId>{other});
  EXPECT_FALSE(s.has_gradient[static_cast<size_t>(other)]);
  EXPECT_EQ(nodes_of(s), (std::vector<NodeId>{0}));
}

TEST(GradientSchedule, ASeedThatIsWantedNeedsNoStep) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2});
  relu(g, x);
  const auto s = make_gradient_schedule(g, {{x}, {x}});
  EXPECT_TRUE(s.steps.empty());
  EXPECT_TRUE(s.has_gradient[static_cast<size_t>(x)]);
  EXPECT_TRUE(s.unreachable.empty());
}

TEST(GradientSchedule, NamesTheOperatorThatStopsTheGradient) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2});
  const ValueId scaled = g.add_node("scale", UnaryAttrs{UnaryKind::kNeg}, {x});
  const ValueId rounded = g.add_node("quantise", UnaryAttrs{UnaryKind::kFloor}, {scaled}), y = relu(g, rounded);
  expect_mentions(error_of([&] { make_gradient_schedule(g, {{y}, {x}}); }, ErrorCode::kUnsupported), {"'x'", "'quantise' (Floor)"});
  // One open path is enough.
  const ValueId sum = binary(g, BinaryKind::kAdd, y, scaled);
  const auto s = make_gradient_schedule(g, {{sum}, {x}});
  EXPECT_EQ(nodes_of(s), (std::vector<NodeId>{3, 0}));
  EXPECT_EQ(s.steps[0].wanted, (Flags{false, true}));
}

TEST(GradientSchedule, ConditionsAndIndicesHaveNoGradient) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2}), zero = g.add_constant("zero", floats({2}, {0, 0}));
  const ValueId condition = binary(g, BinaryKind::kGreater, x, zero);
  const ValueId y = g.add_node("where", WhereAttrs{}, {condition, x, zero});
  const auto s = make_gradient_schedule(g, {{y}, {x}});
  EXPECT_EQ(nodes_of(s), (std::vector<NodeId>{1}));
  EXPECT_EQ(s.steps[0].wanted, (Flags{false, true, false}));
  EXPECT_EQ(marked(s.saved), std::vector<ValueId>{condition});
}

TEST(GradientSchedule, RefusesSeedsAndTargetsThatCannotHaveAGradient) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2}), i = g.add_input("i", DType::kI64, {2});
  const ValueId c = g.add_constant("c", floats({1}, {1}));
  const ValueId y = relu(g, x);
  expect_mentions(error_of([&] { make_gradient_schedule(g, {{y}, {i}}); }), {"target 'i'", "int64"});
  expect_mentions(error_of([&] { make_gradient_schedule(g, {{y}, {c}}); }), {"'c'", "constant"});
  expect_mentions(error_of([&] { make_gradient_schedule(g, {{c}, {x}}); }), {"seed 'c'"});
  expect_mentions(error_of([&] { make_gradient_schedule(g, {{99}, {x}}); }), {"seed 99"});
}

TEST(GradientSchedule, WideConcatsRepeatTheLastBit) {
  Graph g;
  std::vector<ValueId> parts;
  for (int i = 0; i < 40; ++i) parts.push_back(g.add_input("x" + std::to_string(i), DType::kF32, {1}));
  const ValueId y = g.add_node("concat", ConcatAttrs{0}, parts);
  const auto s = make_gradient_schedule(g, {{y}, {parts[3], parts[39]}});
  ASSERT_EQ(s.steps.size(), 1u);
  EXPECT_TRUE(s.steps[0].wanted[3] && s.steps[0].wanted[39]);
  EXPECT_FALSE(s.steps[0].wanted[38]);
}

// Following the schedule on random graphs of sums, with memory that starts as garbage, has to count the paths to the seeds.
TEST(GradientSchedule, CountsPathsOnRandomGraphs) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    Graph g;
    for (int i = 0; i < 3; ++i) g.add_input("x", DType::kF32, {1});
    for (int i = 0; i < 12; ++i) {
      const auto any = [&] { return static_cast<ValueId>(random() % g.values().size()); };
      binary(g, BinaryKind::kAdd, any(), any());
    }
    const size_t count = g.values().size();
    GradientRequest request{{static_cast<ValueId>(count - 1), static_cast<ValueId>(random() % count)}, {0, 1}};
    const auto s = make_gradient_schedule(g, request);

    std::vector<double> expected(count), actual(count, std::nan(""));
    for (ValueId id : request.seeds) expected[static_cast<size_t>(id)] = actual[static_cast<size_t>(id)] = 1;
    for (size_t n = g.nodes().size(); n-- > 0;)
      for (ValueId id : g.nodes()[n].inputs) expected[static_cast<size_t>(id)] += expected[static_cast<size_t>(g.nodes()[n].output)];
    for (const BackwardStep& step : s.steps) {
      const Node& node = g.node(step.node);
      for (size_t i = 0; i < 2; ++i) {
        if (!step.wanted[i]) continue;
        double& d = actual[static_cast<size_t>(node.inputs[i])];
        d = (step.accumulate[i] ? d : 0) + actual[static_cast<size_t>(node.output)];
      }
    }
    for (ValueId id : request.wanted) {
      const bool lost = std::count(s.unreachable.begin(), s.unreachable.end(), id) > 0;
      EXPECT_EQ(lost ? 0 : actual[static_cast<size_t>(id)], expected[static_cast<size_t>(id)]) << "seed " << seed << ", value " << id;
    }
  }
}

struct NeedsCase {
  Attributes attrs;
  Flags wanted;
  Flags inputs;
  bool output;
};

TEST(BackwardNeeds, AreTheCheapestOnes) {
  const std::vector<NeedsCase> cases{
      {ConvAttrs{}, {true, false, false}, {false, true, false}, false},
      {ConvAttrs{}, {false, true, true}, {true, false, false}, false},
      {ConvAttrs{}, {false, false, true}, {false, false, false}, false},
      {ConvTransposeAttrs{}, {true, true}, {true, true}, false},
      {MatMulAttrs{}, {true, false}, {false, true}, false},
      {PoolAttrs{PoolMode::kMax}, {true}, {true}, true},
      {PoolAttrs{PoolMode::kAverageIncludePad}, {true}, {false}, false},
      {ReduceAttrs{ReduceKind::kMean}, {true}, {false}, false},
      {ReduceAttrs{ReduceKind::kMax}, {true}, {true}, true},
      {UnaryAttrs{UnaryKind::kRelu}, {true}, {false}, true},
      {UnaryAttrs{UnaryKind::kSigmoid}, {true}, {false}, true},
      {UnaryAttrs{UnaryKind::kClip}, {true}, {true}, false},
      {UnaryAttrs{UnaryKind::kLeakyRelu}, {true}, {true}, false},
      {UnaryAttrs{UnaryKind::kNeg}, {true}, {false}, false},
      {BinaryAttrs{BinaryKind::kAdd}, {true, true}, {false, false}, false},
      {BinaryAttrs{BinaryKind::kMul}, {true, false}, {false, true}, false},
      {BinaryAttrs{BinaryKind::kMul}, {false, true}, {true, false}, false},
      {BinaryAttrs{BinaryKind::kDiv}, {true, false}, {false, true}, false},
      {BinaryAttrs{BinaryKind::kDiv}, {false, true}, {true, true}, false},
      {SoftmaxAttrs{}, {true}, {false}, true},
      {ScaleShiftAttrs{}, {true, false, false}, {false, true, false}, false},
      {GatherAttrs{}, {true, false}, {false, true}, false},
      {ReshapeAttrs{}, {true}, {false}, false},
      {UnaryAttrs{UnaryKind::kRelu}, {false}, {false}, false},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    const NeedsCase& c = cases[i];
    const BackwardNeeds needs = op_info(kind_of(c.attrs)).needs(c.attrs, c.wanted);
    EXPECT_EQ(needs.inputs, c.inputs) << "case " << i << ", " << name_of(kind_of(c.attrs));
    EXPECT_EQ(needs.output, c.output) << "case " << i << ", " << name_of(kind_of(c.attrs));
  }
}

TEST(Differentiable, KnowsWhatHasNoGradient) {
  const auto mask = [](const Attributes& attrs) { return op_info(kind_of(attrs)).differentiable(attrs); };
  EXPECT_EQ(mask(ConvAttrs{}), 0b111u);
  EXPECT_EQ(mask(BinaryAttrs{BinaryKind::kMax}), 0b11u);
  EXPECT_EQ(mask(BinaryAttrs{BinaryKind::kEqual}), 0u);
  EXPECT_EQ(mask(UnaryAttrs{UnaryKind::kCeil}), 0u);
  EXPECT_EQ(mask(UnaryAttrs{UnaryKind::kErf}), 1u);
  EXPECT_EQ(mask(CastAttrs{DType::kI64}), 0u);
  EXPECT_EQ(mask(CastAttrs{DType::kF32}), 1u);
  EXPECT_EQ(mask(WhereAttrs{}), 0b110u);
  EXPECT_EQ(mask(GatherAttrs{}), 1u);
  EXPECT_EQ(mask(ScaleShiftAttrs{}), 1u);
}

}  // namespace
}  // namespace actmatch
