// The ways in which exporters write a GELU out, and what only looks like one.
#include "tests/unit/pass_test_util.h"

namespace actmatch {
namespace {

using namespace test;

struct Writer {
  Graph g;
  ValueId x = g.add_input("x", DType::kF32, {2, 3, 4});

  ValueId number(float value) { return g.add_constant("number", floats({}, {value})); }
  ValueId binary(BinaryKind kind, ValueId a, ValueId b) { return g.add_node(name_of(kind), BinaryAttrs{kind}, {a, b}); }
  ValueId mul(ValueId a, ValueId b) { return binary(BinaryKind::kMul, a, b); }
  ValueId mul(ValueId a, float b) { return mul(a, number(b)); }
  ValueId div(ValueId a, float b) { return binary(BinaryKind::kDiv, a, number(b)); }
  ValueId add(ValueId a, ValueId b) { return binary(BinaryKind::kAdd, a, b); }
  ValueId add(ValueId a, float b) { return add(a, number(b)); }
  ValueId power(ValueId a, float b) { return binary(BinaryKind::kPow, a, number(b)); }
  ValueId erf(ValueId a) { return unary(g, UnaryKind::kErf, a); }
  ValueId tanh(ValueId a) { return unary(g, UnaryKind::kTanh, a); }
};

// Whether one node is left of `write`, of that kind, with the same values.
template <class Write>
void expect_fused(UnaryKind kind, Write write) {
  Writer w;
  w.g.mark_output(write(w));
  Graph after = rewrite(w.g, {}, kFuseGelu);
  drop_dead_nodes(after);
  ASSERT_EQ(after.nodes().size(), 1u) << after.dump();
  ASSERT_EQ(after.nodes()[0].op(), OpKind::kUnary);
  EXPECT_EQ(std::get<UnaryAttrs>(after.nodes()[0].attrs).kind, kind);
  EXPECT_EQ(after.nodes()[0].inputs[0], w.x);
}

template <class Write>
void expect_left(Write write) {
  Writer w;
  w.g.mark_output(write(w));
  Graph after = rewrite(w.g, {}, kFuseGelu);
  drop_dead_nodes(after);
  EXPECT_EQ(after.nodes().size(), w.g.nodes().size());
}

TEST(FuseGelu, ByErf) {
  expect_fused(UnaryKind::kGelu, [](Writer& w) { return w.mul(w.mul(w.x, w.add(w.erf(w.div(w.x, 1.41421354f)), 1.0f)), 0.5f); });
  expect_fused(UnaryKind::kGelu, [](Writer& w) { return w.mul(w.mul(w.x, 0.5f), w.add(w.erf(w.mul(w.x, 0.70710678f)), 1.0f)); });
  expect_fused(UnaryKind::kGelu,
               [](Writer& w) { return w.mul(w.x, w.mul(w.number(0.5f), w.add(w.number(1), w.erf(w.mul(w.number(0.70710678f), w.x))))); });
  expect_fused(UnaryKind::kGelu, [](Writer& w) { return w.mul(w.div(w.x, 2.0f), w.add(w.erf(w.div(w.x, 1.41421354f)), 1.0f)); });
}

TEST(FuseGelu, ByTanh) {
  expect_fused(UnaryKind::kGeluTanh, [](Writer& w) {
    return w.mul(w.mul(w.x, 0.5f), w.add(w.tanh(w.mul(w.add(w.x, w.mul(w.power(w.x, 3.0f), 0.044715f)), 0.797884583f)), 1.0f));
  });
  expect_fused(UnaryKind::kGeluTanh, [](Writer& w) {
    const ValueId cubic = w.mul(w.mul(w.mul(w.x, w.x), w.x), 0.044715f);
    return w.mul(w.mul(w.number(0.5f), w.x), w.add(w.number(1), w.tanh(w.mul(w.number(0.797884583f), w.add(w.x, cubic)))));
  });
  expect_fused(UnaryKind::kGeluTanh, [](Writer& w) {  // x k (1 + 0.044715 x^2)
    const ValueId inner = w.add(w.mul(w.mul(w.x, 0.044715f), w.x), 1.0f);
    return w.mul(w.mul(w.x, 0.5f), w.add(w.tanh(w.mul(inner, w.mul(w.x, 0.797884583f))), 1.0f));
  });
}

TEST(FuseGelu, WhatOnlyLooksLikeOneStays) {
  expect_left([](Writer& w) { return w.mul(w.mul(w.x, w.add(w.erf(w.div(w.x, 1.41f)), 1.0f)), 0.5f); });         // another slope
  expect_left([](Writer& w) { return w.mul(w.mul(w.x, w.add(w.erf(w.div(w.x, 1.41421354f)), 1.0f)), 0.25f); });  // another factor
  expect_left([](Writer& w) { return w.mul(w.mul(w.x, w.add(w.erf(w.div(w.x, 1.41421354f)), 2.0f)), 0.5f); });
  expect_left([](Writer& w) { return w.mul(w.mul(w.x, w.add(w.tanh(w.div(w.x, 1.41421354f)), 1.0f)), 0.5f); });
  expect_left([](Writer& w) {
    const ValueId other = unary(w.g, UnaryKind::kRelu, w.x);
    return w.mul(w.mul(other, w.add(w.erf(w.div(w.x, 1.41421354f)), 1.0f)), 0.5f);
  });
  expect_left([](Writer& w) {  // 1 + erf is read once more
    const ValueId gate = w.add(w.erf(w.div(w.x, 1.41421354f)), 1.0f);
    return w.add(w.mul(w.mul(w.x, gate), 0.5f), gate);
  });
}

TEST(FuseGelu, ATapOnAValueInBetweenKeepsItApart) {
  Writer w;
  const ValueId gated = w.mul(w.x, w.add(w.erf(w.div(w.x, 1.41421354f)), 1.0f));
  w.g.mark_output(w.mul(gated, 0.5f));
  Graph after = rewrite(w.g, {gated}, kFuseGelu);
  drop_dead_nodes(after, {gated});
  EXPECT_EQ(after.nodes().size(), w.g.nodes().size());
}

TEST(FuseGelu, BroadcastingStays) {
  Writer w;
  const ValueId narrow = w.g.add_input("narrow", DType::kF32, {4});
  const ValueId wide = w.mul(w.add(w.erf(w.div(narrow, 1.41421354f)), 1.0f), w.g.add_constant("halves", floats({1, 1, 1}, {0.5f})));
  w.g.mark_output(w.mul(narrow, wide));
  Graph after = rewrite(w.g, {}, kFuseGelu);
  drop_dead_nodes(after);
  EXPECT_EQ(after.nodes().size(), w.g.nodes().size()) << "the result has more axes than x";
}

}  // namespace
}  // namespace actmatch
