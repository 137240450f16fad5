// The passes: what they rewrite, what they must leave alone, and that the values stay what they were.
#include <limits>

#include "tests/unit/pass_test_util.h"

namespace actmatch {
namespace {

using namespace test;

TEST(Simplify, RemovesEveryOperatorThatDoesNothing) {
  const std::vector<Attributes> idle{
      UnaryAttrs{UnaryKind::kIdentity},
      CastAttrs{DType::kF32},
      ReshapeAttrs{{1, 2, 4, 5}},
      TransposeAttrs{{0, 1, 2, 3}},
      SliceAttrs{{0, 0, 0, 0}, {-1, 1, 1, 1}, {1, 2, 4, 5}},
      PadAttrs{{0, 0, 0, 0}, {0, 0, 0, 0}, PadMode::kReflect},
      ExpandAttrs{{1, 2, 4, 5}},
      ConcatAttrs{1},
      PoolAttrs{},
      ReduceAttrs{},
      ResizeAttrs{ResizeMode::kLinear, 4, 5},
  };
  for (const Attributes& attrs : idle) {
    Graph g;
    const ValueId x = g.add_input("x", DType::kF32, {1, 2, 4, 5});
    const ValueId a = unary(g, UnaryKind::kExp, x), b = g.add_node("idle", attrs, {a});
    g.mark_output(unary(g, UnaryKind::kNeg, b));
    Graph after = g;
    simplify(after);
    EXPECT_EQ(after.nodes().size(), 2u) << name_of(kind_of(attrs));
    EXPECT_EQ(after.nodes()[1].inputs[0], a);
  }
}

TEST(Simplify, KeepsWhatOnlyLooksIdle) {
  const std::vector<Attributes> busy{
      SliceAttrs{{0, 1, 0, 0}, {1, -1, 1, 1}, {1, 2, 4, 4}},    // reverses
      TransposeAttrs{{0, 1, 3, 2}},                             // same shape, other order
      PadAttrs{{0, 0, 1, 0}, {0, 0, -1, 0}},                    // shifts
      PoolAttrs{PoolMode::kMax, {3, 3}, {1, 1}, {1, 1, 1, 1}},  // same shape
      PoolAttrs{PoolMode::kAverageExcludePad, {3, 3}, {1, 1}, {1, 1, 1, 1}},
      UnaryAttrs{UnaryKind::kAbs},
  };
  for (const Attributes& attrs : busy) {
    Graph g;
    const ValueId x = g.add_input("x", DType::kF32, {1, 2, 4, 4});
    g.mark_output(g.add_node("busy", attrs, {unary(g, UnaryKind::kNeg, x)}));
    EXPECT_EQ(rewrite(g, {}, kSimplify).nodes().size(), 2u) << name_of(kind_of(attrs));
  }
}

TEST(Simplify, ProtectedNamesSurviveTheRemoval) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2, 3});
  const ValueId a = unary(g, UnaryKind::kNeg, x), early = unary(g, UnaryKind::kAbs, a);
  const ValueId out = unary(g, UnaryKind::kIdentity, a), late = unary(g, UnaryKind::kExp, a);
  g.mark_output(out);
  g.mark_output(early);
  g.mark_output(late);
  const Graph renamed = rewrite(g, {}, kSimplify);
  EXPECT_EQ(renamed.nodes().size(), 3u) << "the producer makes the output itself";
  EXPECT_EQ(renamed.nodes()[0].output, out);
  EXPECT_EQ(rewrite(g, {a}, kSimplify).nodes().size(), 4u) << "two protected names need the copy";
  Graph direct;
  const ValueId in = direct.add_input("x", DType::kF32, {2});
  direct.mark_output(unary(direct, UnaryKind::kIdentity, in));
  EXPECT_EQ(rewrite(direct, {}, kSimplify).nodes().size(), 1u) << "an input cannot be renamed";
}

TEST(Simplify, ChainsOfIdentitiesCollapse) {
  Graph g;
  ValueId v = g.add_input("x", DType::kF32, {2, 3});
  v = unary(g, UnaryKind::kNeg, v);
  for (int i = 0; i < 5; ++i) v = unary(g, UnaryKind::kIdentity, v);
  g.mark_output(v);
  EXPECT_EQ(rewrite(g, {}, kSimplify).nodes().size(), 1u);
}

TEST(Simplify, SeesThroughARenamedValue) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2, 3});
  const ValueId r1 = g.add_node("r1", ReshapeAttrs{{6}}, {x}), out = unary(g, UnaryKind::kIdentity, r1);
  const ValueId r2 = g.add_node("r2", ReshapeAttrs{{3, 2}}, {out});
  g.mark_output(out);
  g.mark_output(r2);
  const Graph after = rewrite(g, {}, kSimplify);
  ASSERT_EQ(after.nodes().size(), 2u);
  EXPECT_EQ(after.nodes()[1].inputs[0], x);
}

TEST(Simplify, JoinsReshapesAndTransposes) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2, 3, 4});
  const ValueId r1 = g.add_node("r1", ReshapeAttrs{{6, 4}}, {x}), r2 = g.add_node("r2", ReshapeAttrs{{4, 6}}, {r1});
  const ValueId t1 = g.add_node("t1", TransposeAttrs{{1, 2, 0}}, {x}), t2 = g.add_node("t2", TransposeAttrs{{1, 2, 0}}, {t1});
  const ValueId t3 = g.add_node("t3", TransposeAttrs{{1, 2, 0}}, {t2});  // three turns: back to x
  g.mark_output(r2);
  g.mark_output(t2);
  g.mark_output(unary(g, UnaryKind::kNeg, t3));
  const Graph after = rewrite(g, {}, kOptimise);
  EXPECT_EQ(after.nodes().size(), 3u);
  EXPECT_EQ(count_of(after, OpKind::kTranspose), 1u);
  for (const Node& node : after.nodes()) EXPECT_EQ(node.inputs[0], x) << node.name;
  EXPECT_EQ(rewrite(g, {r1, t1}, kOptimise).nodes().size(), 5u) << "taps in between stay";
}

TEST(Simplify, JoinsSlices) {
  const int64_t any = std::numeric_limits<int64_t>::max();
  const std::vector<std::pair<SliceAttrs, SliceAttrs>> pairs{
      {{{0, 1}, {1, 2}, {3, 4}}, {{1, 0}, {1, 1}, {2, 3}}},      // a part of every second column
      {{{0, 8}, {2, -3}, {2, 3}}, {{1, 2}, {-1, -2}, {2, 2}}},   // backwards and forwards again
      {{{2, 0}, {any, 1}, {1, 9}}, {{0, 4}, {1, any}, {1, 1}}},  // single elements with steps that do not count
      {{{0, 2}, {1, 3}, {3, 2}}, {{5, 1}, {1, 1}, {0, 1}}},      // nothing left
  };
  for (const auto& [inner, outer] : pairs) {
    Graph g;
    const ValueId x = g.add_input("x", DType::kF32, {3, 9});
    g.mark_output(g.add_node("outer", outer, {g.add_node("inner", inner, {x})}));
    const Graph after = rewrite(g, {}, kOptimise);
    ASSERT_EQ(after.nodes().size(), 1u);
    EXPECT_EQ(op_info(OpKind::kSlice).infer(after.nodes()[0].attrs, std::vector<const Value*>{&g.value(x)}).shape,
              g.value(g.outputs()[0]).shape);
  }
}

TEST(Simplify, ZeroPadsMoveIntoTheConvolution) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {1, 2, 5, 5}), w = g.add_constant("w", noise({3, 2, 3, 3}, 1));
  const ValueId p = g.add_node("pad", PadAttrs{{0, 0, 1, 2}, {0, 0, 0, 1}}, {x});
  g.mark_output(g.add_node("conv", ConvAttrs{{2, 1}, {1, 0, 1, 0}}, {p, w}));
  const Graph after = rewrite(g, {}, kOptimise);
  ASSERT_EQ(after.nodes().size(), 1u);
  EXPECT_EQ(std::get<ConvAttrs>(after.nodes()[0].attrs).pads, (std::array<int64_t, 4>{2, 2, 1, 1}));
  EXPECT_EQ(rewrite(g, {p}, kOptimise).nodes().size(), 2u) << "the padded value is still made for whoever looks at it";
}

TEST(Simplify, OtherPadsStayInFrontOfTheConvolution) {
  const std::vector<PadAttrs> pads{{{0, 0, 1, 1}, {0, 0, 1, 1}, PadMode::kReflect},
                                   {{0, 0, 1, 1}, {0, 0, 1, 1}, PadMode::kConstant, 0.5f},
                                   {{0, 1, 1, 1}, {0, 0, 1, 1}},
                                   {{1, 0, 1, 1}, {0, 0, 1, 1}},
                                   {{0, 0, -1, 1}, {0, 0, 1, 1}}};
  for (const PadAttrs& attrs : pads) {
    Graph g;
    const ValueId x = g.add_input("x", DType::kF32, {1, 2, 5, 5});
    const ValueId p = g.add_node("pad", attrs, {x});
    const ValueId w = g.add_constant("w", noise({3, g.value(p).shape[1], 3, 3}, 1));
    g.mark_output(g.add_node("conv", ConvAttrs{}, {p, w}));
    EXPECT_EQ(count_of(rewrite(g, {}, kOptimise), OpKind::kPad), 1u);
  }
}

struct PoolCase {
  PoolAttrs pool;
  bool behind_relu, merges;
};

TEST(Simplify, ZeroPadsMoveIntoAPoolOnlyWhereTheyMeanTheSame) {
  const std::vector<PoolCase> cases{
      {{PoolMode::kAverageIncludePad, {3, 3}, {2, 2}}, false, true},
      {{PoolMode::kAverageIncludePad, {3, 3}, {2, 2}, {1, 1, 1, 1}}, false, false},
      {{PoolMode::kAverageIncludePad, {1, 1}, {2, 2}}, false, false},  // padding as wide as the window
      {{PoolMode::kAverageExcludePad, {3, 3}, {2, 2}}, false, false},
      {{PoolMode::kMax, {3, 3}, {2, 2}}, false, false},
      {{PoolMode::kMax, {3, 3}, {2, 2}}, true, true},
      {{PoolMode::kMax, {3, 3}, {1, 1}, {0, 0, 0, 0}, {2, 2}}, true, false},
      {{PoolMode::kMax, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}, true}, true, false},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    Graph g;
    ValueId x = g.add_input("x", DType::kF32, {1, 2, 7, 7});
    x = unary(g, cases[i].behind_relu ? UnaryKind::kRelu : UnaryKind::kNeg, x);
    const ValueId p = g.add_node("pad", PadAttrs{{0, 0, 1, 1}, {0, 0, 1, 1}}, {x});
    g.mark_output(g.add_node("pool", cases[i].pool, {p}));
    EXPECT_EQ(count_of(rewrite(g, {}, kOptimise), OpKind::kPad), cases[i].merges ? 0u : 1u) << "case " << i;
  }
}

TEST(Simplify, ABiasBehindAMatrixProductMovesIn) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2, 3, 4}), w = g.add_constant("w", noise({4, 5}, 1));
  const ValueId b1 = g.add_constant("b1", noise({1, 1, 5}, 2)), b2 = g.add_parameter("b2", noise({4}, 3));
  const ValueId w2 = g.add_constant("w2", noise({5, 4}, 4));
  const ValueId m1 = g.add_node("m1", MatMulAttrs{}, {x, w}), a1 = g.add_node("a1", BinaryAttrs{}, {b1, m1});
  const ValueId m2 = g.add_node("m2", MatMulAttrs{}, {a1, w2}), a2 = g.add_node("a2", BinaryAttrs{}, {m2, b2});
  g.mark_output(a2);
  const Graph after = rewrite(g, {}, kSimplify);
  EXPECT_EQ(after.nodes().size(), 2u);
  EXPECT_EQ(after.nodes()[1].inputs[2], b2) << "a parameter stays a parameter";
  EXPECT_EQ(rewrite(g, {m1}, kSimplify).nodes().size(), 3u) << "a tap on the product keeps the addition apart";
}

TEST(Simplify, WhatIsNoBiasStaysAnAddition) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {3, 4}), w = g.add_constant("w", noise({4, 3}, 1));
  const ValueId column = g.add_constant("column", noise({3, 1}, 2));
  const ValueId m = g.add_node("m", MatMulAttrs{}, {x, w});
  g.mark_output(g.add_node("a", BinaryAttrs{}, {m, column}));
  const ValueId both = g.add_node("m2", MatMulAttrs{}, {x, w});
  g.mark_output(g.add_node("twice", BinaryAttrs{}, {both, both}));
  EXPECT_EQ(rewrite(g, {}, kSimplify).nodes().size(), 4u);

  Graph grows;  // the addition gives another shape than the product has
  const ValueId a = grows.add_input("a", DType::kF32, {3, 4});
  const ValueId one = grows.add_node("m", MatMulAttrs{}, {a, grows.add_constant("w", noise({4, 1}, 1))});
  const ValueId two = grows.add_node("m", MatMulAttrs{}, {a, grows.add_constant("w", noise({4, 5}, 1))});
  grows.mark_output(grows.add_node("a", BinaryAttrs{}, {one, grows.add_constant("b", noise({5}, 2))}));
  grows.mark_output(grows.add_node("a", BinaryAttrs{}, {two, grows.add_constant("b", noise({1, 1, 5}, 2))}));
  EXPECT_EQ(rewrite(grows, {}, kSimplify).nodes().size(), 4u);
}

TEST(Simplify, ASecondBiasAndASharedProductStayApart) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {3, 4}), w = g.add_constant("w", noise({4, 5}, 1)),
                b = g.add_constant("b", noise({5}, 2));
  const ValueId biased = g.add_node("m", MatMulAttrs{}, {x, w, b});
  g.mark_output(g.add_node("again", BinaryAttrs{}, {biased, b}));
  const ValueId copy = unary(g, UnaryKind::kIdentity, g.add_node("m2", MatMulAttrs{}, {x, w}));
  g.mark_output(g.add_node("sum", BinaryAttrs{}, {copy, b}));
  g.mark_output(unary(g, UnaryKind::kNeg, copy));  // reads the bare product through the identity
  EXPECT_EQ(rewrite(g, {}, kSimplify).nodes().size(), 5u);
}

TEST(Simplify, PowersByTwoAndAHalf) {
  for (const auto& [exponent, kind] :
       std::vector<std::pair<float, OpKind>>{{2.0f, OpKind::kBinary}, {0.5f, OpKind::kUnary}, {3.0f, OpKind::kBinary}}) {
    Graph g;
    const ValueId x = unary(g, UnaryKind::kExp, g.add_input("x", DType::kF32, {2, 3}));
    g.mark_output(g.add_node("power", BinaryAttrs{BinaryKind::kPow}, {x, g.add_constant("e", floats({1}, {exponent}))}));
    const Graph after = rewrite(g, {}, kSimplify);
    ASSERT_EQ(after.nodes().size(), 2u);
    EXPECT_EQ(after.nodes()[1].op(), kind);
    const auto* binary = std::get_if<BinaryAttrs>(&after.nodes()[1].attrs);
    EXPECT_EQ(binary && binary->kind == BinaryKind::kMul, exponent == 2.0f);
    EXPECT_EQ(binary && binary->kind == BinaryKind::kPow, exponent == 3.0f);
  }
  Graph g;  // the exponent widens the result: nothing to be done
  const ValueId x = g.add_input("x", DType::kF32, {3});
  g.mark_output(g.add_node("power", BinaryAttrs{BinaryKind::kPow}, {x, g.add_constant("e", floats({1, 1}, {2.0f}))}));
  EXPECT_EQ(std::get<BinaryAttrs>(rewrite(g, {}, kSimplify).nodes()[0].attrs).kind, BinaryKind::kPow);
}

TEST(DropDeadNodes, KeepsOutputsTapsInputsAndParameters) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2}), unused = g.add_input("unused", DType::kF32, {2});
  const ValueId c = g.add_constant("c", floats({2}, {1, 2})), dead_constant = g.add_constant("d", floats({2}, {3, 4}));
  const ValueId p = g.add_parameter("p", floats({2}, {5, 6}));
  const ValueId y = g.add_node("y", BinaryAttrs{}, {x, c}), tap = unary(g, UnaryKind::kAbs, y);
  const ValueId dead = g.add_node("dead", BinaryAttrs{}, {x, dead_constant});
  unary(g, UnaryKind::kNeg, dead);
  g.mark_output(y);
  EXPECT_EQ(rewrite(g, {tap}, [](Graph& h, const std::vector<ValueId>& keep) { drop_dead_nodes(h, keep); }).nodes().size(), 2u);
  drop_dead_nodes(g);
  EXPECT_EQ(g.nodes().size(), 1u);
  EXPECT_EQ(g.value(dead).producer, -1);
  EXPECT_EQ(g.inputs(), (std::vector<ValueId>{x, unused}));
  EXPECT_EQ(g.parameters(), std::vector<ValueId>{p});
  EXPECT_EQ(g.value(c).constant->count(), 2);
  EXPECT_EQ(g.value(p).constant->count(), 2);
  EXPECT_EQ(g.value(dead_constant).constant->count(), 0) << "its memory has been given back";
}

// A residual block as exporters write it, with taps: what is left is what a person would have written.

TEST(Optimise, ResidualBlock) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2, 3, 8, 8});
  const auto conv = [&](ValueId in, Shape w, ConvAttrs attrs, uint32_t seed) {
    return g.add_node("conv", attrs, {in, g.add_constant("w", noise(std::move(w), seed))});
  };
  ValueId v = g.add_node("pad", PadAttrs{{0, 0, 1, 1}, {0, 0, 1, 1}}, {x});
  v = batch_norm(g, unary(g, UnaryKind::kIdentity, conv(v, {4, 3, 3, 3}, {}, 1)), 10);
  const ValueId stem = unary(g, UnaryKind::kRelu, v);
  v = batch_norm(g, conv(stem, {4, 4, 3, 3}, {{2, 2}, {1, 1, 1, 1}}, 2), 20);
  const ValueId shortcut = batch_norm(g, conv(stem, {4, 4, 1, 1}, {{2, 2}}, 3), 30);
  const ValueId tap = unary(g, UnaryKind::kRelu, g.add_node("add", BinaryAttrs{}, {v, shortcut}));
  v = g.add_node("pool", ReduceAttrs{ReduceKind::kMean, {2, 3}}, {tap});
  v = g.add_node("squeeze", ReshapeAttrs{{2, 4, 1}}, {v});
  v = g.add_node("flatten", ReshapeAttrs{{2, 4}}, {v});
  v = g.add_node("fc", MatMulAttrs{false, true}, {v, g.add_constant("fc.w", noise({5, 4}, 4))});
  g.mark_output(unary(g, UnaryKind::kIdentity, g.add_node("bias", BinaryAttrs{}, {v, g.add_constant("fc.b", noise({5}, 5))})));
  unary(g, UnaryKind::kNeg, stem);  // dead
  const Graph after = rewrite(g, {tap}, kOptimise);
  EXPECT_EQ(count_of(after, OpKind::kConv), 3u);
  EXPECT_EQ(count_of(after, OpKind::kReshape), 1u);
  EXPECT_EQ(after.nodes().size(), 3u + 2u + 1u + 1u + 1u + 1u) << after.dump();
}

}  // namespace
}  // namespace actmatch
