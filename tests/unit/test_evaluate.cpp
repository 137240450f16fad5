// Constant folding against values worked out by hand, or against the plain definition written as loops.
#include <cmath>
#include <limits>

#include "tests/unit/graph_test_util.h"

namespace actmatch {
namespace {

using namespace test;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int64_t kLowest = std::numeric_limits<int64_t>::min(), kHighest = std::numeric_limits<int64_t>::max();

// The node's result when all inputs are constants; fails when it was not folded.
Tensor fold(const Attributes& attrs, const std::vector<Tensor>& inputs) {
  Graph g;
  std::vector<ValueId> ids;
  for (const Tensor& t : inputs) ids.push_back(g.add_constant("c" + std::to_string(ids.size()), t));
  const Value& v = g.value(g.add_node("node", attrs, ids));
  EXPECT_TRUE(v.constant) << "not folded";
  return v.constant ? *v.constant : Tensor(v.dtype, v.shape);
}

std::vector<float> unary(const UnaryAttrs& attrs, const std::vector<float>& x) {
  return list<float>(fold(attrs, {floats({static_cast<int64_t>(x.size())}, x)}));
}

std::vector<int64_t> binary(BinaryKind kind, const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  const auto n = static_cast<int64_t>(a.size());
  return list<int64_t>(fold(BinaryAttrs{kind}, {ints({n}, a), ints({n}, b)}));
}

void expect_near(const std::vector<float>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  // Folding computes in double and rounds once, so half a unit in the last place is all that may be lost; the 1e-7 leaves room for
  // the double arithmetic itself.
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], std::fabs(expected[i]) * 1e-7) << "at " << i;
}

TEST(Evaluate, UnaryFunctions) {
  const std::vector<float> x{-4, -0.5f, 0, 0.25f, 8};
  EXPECT_EQ(unary({UnaryKind::kRelu}, x), (std::vector<float>{0, 0, 0, 0.25f, 8}));
  EXPECT_EQ(unary({UnaryKind::kLeakyRelu, 0.5f}, x), (std::vector<float>{-2, -0.25f, 0, 0.25f, 8}));
  EXPECT_EQ(unary({UnaryKind::kClip, -1, 6}, x), (std::vector<float>{-1, -0.5f, 0, 0.25f, 6}));
  EXPECT_EQ(unary({UnaryKind::kClip, 3, 1}, {0, 2, 5}), (std::vector<float>{1, 1, 1})) << "min(max(x, low), high), in this order";
  EXPECT_EQ(unary({UnaryKind::kNeg}, x), (std::vector<float>{4, 0.5f, 0, -0.25f, -8}));
  EXPECT_EQ(unary({UnaryKind::kAbs}, x), (std::vector<float>{4, 0.5f, 0, 0.25f, 8}));
  EXPECT_EQ(unary({UnaryKind::kFloor}, x), (std::vector<float>{-4, -1, 0, 0, 8}));
  EXPECT_EQ(unary({UnaryKind::kCeil}, x), (std::vector<float>{-4, 0, 0, 1, 8}));
  EXPECT_EQ(unary({UnaryKind::kReciprocal}, x), (std::vector<float>{-0.25f, -2, kInf, 4, 0.125f}));
  EXPECT_EQ(unary({UnaryKind::kSqrt}, {0, 4, 2.25f}), (std::vector<float>{0, 2, 1.5f}));
  EXPECT_EQ(unary({UnaryKind::kHardSigmoid, 0.25f, 0.5f}, x), (std::vector<float>{0, 0.375f, 0.5f, 0.5625f, 1}));
  EXPECT_EQ(unary({UnaryKind::kHardSwish}, {-4, -1.5f, 0, 1.5f, 4}), (std::vector<float>{0, -0.375f, 0, 1.125f, 4}));
  EXPECT_EQ(unary({UnaryKind::kIdentity}, x), x);
  expect_near(unary({UnaryKind::kSigmoid}, {-2, 0, 3}), {0.11920292202211755, 0.5, 0.95257412682243336});
  expect_near(unary({UnaryKind::kTanh}, {-1, 0.5f}), {-0.76159415595576485, 0.46211715726000973});
  expect_near(unary({UnaryKind::kExp}, {1, -1}), {2.7182818284590451, 0.36787944117144233});
  expect_near(unary({UnaryKind::kLog}, {10, 0.5f}), {2.3025850929940459, -0.69314718055994529});
  expect_near(unary({UnaryKind::kErf}, {0.5f, -1}), {0.52049987781304652, -0.84270079294971489});
  expect_near(unary({UnaryKind::kElu, 2}, {-1, 3}), {-1.2642411176571153, 3});
  expect_near(unary({UnaryKind::kSoftplus}, {0, -3, 200}), {0.69314718055994529, 0.048587351573742059, 200});
}

TEST(Evaluate, NanSurvives) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (UnaryKind kind : {UnaryKind::kRelu, UnaryKind::kClip, UnaryKind::kHardSigmoid, UnaryKind::kHardSwish, UnaryKind::kSoftplus})
    EXPECT_TRUE(std::isnan(unary({kind, 0.1f, 0.5f}, {nan})[0])) << name_of(kind);
  for (BinaryKind kind : {BinaryKind::kMin, BinaryKind::kMax}) {
    const auto y = list<float>(fold(BinaryAttrs{kind}, {floats({2}, {nan, 1}), floats({2}, {1, nan})}));
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1])) << name_of(kind);
  }
  for (ReduceKind kind : {ReduceKind::kMax, ReduceKind::kMin})
    EXPECT_TRUE(std::isnan(list<float>(fold(ReduceAttrs{kind, {0}}, {floats({3}, {1, nan, 2})}))[0]));
}

TEST(Evaluate, IntegersAndBools) {
  EXPECT_EQ(list<int64_t>(fold(UnaryAttrs{UnaryKind::kAbs}, {ints({2}, {-5, 7})})), (std::vector<int64_t>{5, 7}));
  EXPECT_EQ(list<int64_t>(fold(UnaryAttrs{UnaryKind::kNeg}, {ints({2}, {-5, kLowest})})), (std::vector<int64_t>{5, kLowest}));
  EXPECT_EQ(list<int64_t>(fold(UnaryAttrs{UnaryKind::kRelu}, {ints({2}, {-5, 7})})), (std::vector<int64_t>{0, 7}));
  EXPECT_EQ(list<int64_t>(fold(UnaryAttrs{UnaryKind::kClip, 0, kInf}, {ints({2}, {-5, kHighest})})), (std::vector<int64_t>{0, kHighest}));
  EXPECT_EQ(list<uint8_t>(fold(UnaryAttrs{UnaryKind::kNot}, {bools({2}, {0, 1})})), (std::vector<uint8_t>{1, 0}));
}

TEST(Evaluate, IntegerArithmeticWrapsAndTruncates) {
  EXPECT_EQ(binary(BinaryKind::kAdd, {1, kHighest}, {2, 1}), (std::vector<int64_t>{3, kLowest}));
  EXPECT_EQ(binary(BinaryKind::kSub, {1, kLowest}, {2, 1}), (std::vector<int64_t>{-1, kHighest}));
  EXPECT_EQ(binary(BinaryKind::kMul, {-3, kHighest}, {5, 2}), (std::vector<int64_t>{-15, -2}));
  EXPECT_EQ(binary(BinaryKind::kDiv, {7, -7, 7, -7, kLowest}, {2, 2, -2, -2, -1}), (std::vector<int64_t>{3, -3, -3, 3, kLowest}));
  EXPECT_EQ(binary(BinaryKind::kPow, {3, -2, 5, 1, 2, -1, -1}, {4, 3, 0, -7, -1, -3, -2}), (std::vector<int64_t>{81, -8, 1, 1, 0, -1, 1}));
  EXPECT_EQ(binary(BinaryKind::kMin, {3, -2}, {1, 5}), (std::vector<int64_t>{1, -2}));
  EXPECT_EQ(binary(BinaryKind::kMax, {3, -2}, {1, 5}), (std::vector<int64_t>{3, 5}));
  expect_mentions(error_of([] { binary(BinaryKind::kDiv, {7}, {0}); }), {"division of 7 by zero"});
  expect_mentions(error_of([] { binary(BinaryKind::kPow, {0}, {-1}); }), {"0 to the power -1"});
}

TEST(Evaluate, FloatArithmeticAndBroadcasting) {
  const Tensor a = floats({2, 1}, {6, -2}), b = floats({3}, {1, 2, 4});
  EXPECT_EQ(list<float>(fold(BinaryAttrs{BinaryKind::kAdd}, {a, b})), (std::vector<float>{7, 8, 10, -1, 0, 2}));
  EXPECT_EQ(list<float>(fold(BinaryAttrs{BinaryKind::kSub}, {a, b})), (std::vector<float>{5, 4, 2, -3, -4, -6}));
  EXPECT_EQ(list<float>(fold(BinaryAttrs{BinaryKind::kMul}, {a, b})), (std::vector<float>{6, 12, 24, -2, -4, -8}));
  EXPECT_EQ(list<float>(fold(BinaryAttrs{BinaryKind::kDiv}, {a, b})), (std::vector<float>{6, 3, 1.5f, -2, -1, -0.5f}));
  EXPECT_EQ(list<float>(fold(BinaryAttrs{BinaryKind::kPow}, {a, b})), (std::vector<float>{6, 36, 1296, -2, 4, 16}));
  EXPECT_EQ(list<uint8_t>(fold(BinaryAttrs{BinaryKind::kGreater}, {a, b})), (std::vector<uint8_t>{1, 1, 1, 0, 0, 0}));
  EXPECT_EQ(list<float>(fold(BinaryAttrs{BinaryKind::kDiv}, {floats({}, {1}), floats({}, {0})})), (std::vector<float>{kInf}));
  EXPECT_EQ(fold(BinaryAttrs{}, {floats({0, 3}, {}), floats({1}, {1})}).count(), 0);
}

TEST(Evaluate, Comparisons) {
  const Tensor a = ints({3}, {1, 2, 3}), b = ints({}, {2});
  const auto result = [&](BinaryKind kind) { return list<uint8_t>(fold(BinaryAttrs{kind}, {a, b})); };
  EXPECT_EQ(result(BinaryKind::kEqual), (std::vector<uint8_t>{0, 1, 0}));
  EXPECT_EQ(result(BinaryKind::kLess), (std::vector<uint8_t>{1, 0, 0}));
  EXPECT_EQ(result(BinaryKind::kLessOrEqual), (std::vector<uint8_t>{1, 1, 0}));
  EXPECT_EQ(result(BinaryKind::kGreater), (std::vector<uint8_t>{0, 0, 1}));
  EXPECT_EQ(result(BinaryKind::kGreaterOrEqual), (std::vector<uint8_t>{0, 1, 1}));
  const Tensor p = bools({4}, {0, 0, 1, 1}), q = bools({4}, {0, 1, 0, 1});
  EXPECT_EQ(list<uint8_t>(fold(BinaryAttrs{BinaryKind::kAnd}, {p, q})), (std::vector<uint8_t>{0, 0, 0, 1}));
  EXPECT_EQ(list<uint8_t>(fold(BinaryAttrs{BinaryKind::kOr}, {p, q})), (std::vector<uint8_t>{0, 1, 1, 1}));
  EXPECT_EQ(list<uint8_t>(fold(BinaryAttrs{BinaryKind::kEqual}, {p, q})), (std::vector<uint8_t>{1, 0, 0, 1}));
}

TEST(Evaluate, CastTruncatesTowardZero) {
  const Tensor x = floats({6}, {-1.9f, -0.5f, 0, 0.5f, 1.9f, 1e30f});
  EXPECT_EQ(list<int64_t>(fold(CastAttrs{DType::kI64}, {x})), (std::vector<int64_t>{-1, 0, 0, 0, 1, kHighest}));
  EXPECT_EQ(list<uint8_t>(fold(CastAttrs{DType::kBool}, {x})), (std::vector<uint8_t>{1, 1, 0, 1, 1, 1}));
  EXPECT_EQ(list<float>(fold(CastAttrs{DType::kF32}, {ints({2}, {-3, 4})})), (std::vector<float>{-3, 4}));
  EXPECT_EQ(list<int64_t>(fold(CastAttrs{DType::kI64}, {bools({2}, {0, 1})})), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(list<int64_t>(fold(CastAttrs{DType::kI64}, {floats({2}, {std::nanf(""), -kInf})})), (std::vector<int64_t>{0, kLowest}));
}

TEST(Evaluate, Reduce) {
  const Tensor x = floats({2, 3, 2}, {1, 2, 3, 4, 5, 6, -1, -2, -3, -4, -5, -9});
  EXPECT_EQ(list<float>(fold(ReduceAttrs{ReduceKind::kSum, {1}}, {x})), (std::vector<float>{9, 12, -9, -15}));
  EXPECT_EQ(list<float>(fold(ReduceAttrs{ReduceKind::kMean, {0, 2}, false}, {x})), (std::vector<float>{0, 0, -0.75f}));
  EXPECT_EQ(list<float>(fold(ReduceAttrs{ReduceKind::kMax, {2}}, {x})), (std::vector<float>{2, 4, 6, -1, -3, -5}));
  EXPECT_EQ(list<float>(fold(ReduceAttrs{ReduceKind::kMin, {0, 1, 2}, false}, {x})), (std::vector<float>{-9}));
  const Tensor i = ints({3}, {-7, 3, 0});
  EXPECT_EQ(list<int64_t>(fold(ReduceAttrs{ReduceKind::kSum, {0}}, {i})), (std::vector<int64_t>{-4}));
  EXPECT_EQ(list<int64_t>(fold(ReduceAttrs{ReduceKind::kMean, {0}}, {i})), (std::vector<int64_t>{-1})) << "toward zero";
  EXPECT_EQ(list<int64_t>(fold(ReduceAttrs{ReduceKind::kMax, {0}}, {ints({2}, {-7, -3})})), (std::vector<int64_t>{-3}));
  EXPECT_EQ(list<float>(fold(ReduceAttrs{ReduceKind::kSum, {0}}, {floats({0, 2}, {})})), (std::vector<float>{0, 0}));
}

TEST(Evaluate, SoftmaxAlongAnyAxis) {
  const Tensor x = floats({2, 2}, {0, 1000, 0, 1001});
  const double high = 1 / (1 + std::exp(-1.0));
  expect_near(list<float>(fold(SoftmaxAttrs{0}, {x})), {0.5, 1 - high, 0.5, high});
  expect_near(list<float>(fold(SoftmaxAttrs{1}, {x})), {0, 1, 0, 1});
  expect_near(list<float>(fold(SoftmaxAttrs{1, true}, {floats({1, 2}, {0, 1000})})), {-1000, 0});
}

TEST(Evaluate, MatMulTransposesBroadcastsAndAddsTheBias) {
  const Tensor a = floats({2, 3}, {1, 2, 3, 4, 5, 6}), at = floats({3, 2}, {1, 4, 2, 5, 3, 6});
  const Tensor b = floats({3, 2}, {1, 0, 0, 1, 1, 1}), bt = floats({2, 3}, {1, 0, 1, 0, 1, 1});
  const std::vector<float> expected{4, 5, 10, 11};
  EXPECT_EQ(list<float>(fold(MatMulAttrs{}, {a, b})), expected);
  EXPECT_EQ(list<float>(fold(MatMulAttrs{true, false}, {at, b})), expected);
  EXPECT_EQ(list<float>(fold(MatMulAttrs{false, true}, {a, bt})), expected);
  EXPECT_EQ(list<float>(fold(MatMulAttrs{true, true}, {at, bt, floats({2}, {100, -1})})), (std::vector<float>{104, 4, 110, 10}));
  const Tensor batched = fold(MatMulAttrs{}, {floats({2, 1, 1, 2}, {1, 2, 3, 4}), floats({3, 2, 1}, {1, 0, 0, 1, 1, 1})});
  EXPECT_EQ(batched.shape(), (Shape{2, 3, 1, 1}));
  EXPECT_EQ(list<float>(batched), (std::vector<float>{1, 2, 3, 3, 4, 7}));
  EXPECT_EQ(list<float>(fold(MatMulAttrs{}, {floats({1, 0}, {}), floats({0, 2}, {})})), (std::vector<float>{0, 0}));
}

TEST(Evaluate, ConcatReshapeTranspose) {
  const Tensor a = floats({2, 1}, {1, 2}), b = floats({2, 2}, {3, 4, 5, 6});
  EXPECT_EQ(list<float>(fold(ConcatAttrs{1}, {a, b, floats({2, 0}, {})})), (std::vector<float>{1, 3, 4, 2, 5, 6}));
  EXPECT_EQ(list<int64_t>(fold(ConcatAttrs{0}, {ints({1}, {1}), ints({2}, {2, 3})})), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(fold(ReshapeAttrs{{4, 1}}, {b}).shape(), (Shape{4, 1}));
  const Tensor t = fold(TransposeAttrs{{2, 0, 1}}, {ints({2, 1, 3}, {0, 1, 2, 3, 4, 5})});
  EXPECT_EQ(t.shape(), (Shape{3, 2, 1}));
  EXPECT_EQ(list<int64_t>(t), (std::vector<int64_t>{0, 3, 1, 4, 2, 5}));
}

TEST(Evaluate, SliceWithAnyStep) {
  const Tensor x = ints({2, 4}, {0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(list<int64_t>(fold(SliceAttrs{{0, 1}, {1, 2}, {2, 2}}, {x})), (std::vector<int64_t>{1, 3, 5, 7}));
  EXPECT_EQ(list<int64_t>(fold(SliceAttrs{{1, 3}, {-1, -3}, {2, 2}}, {x})), (std::vector<int64_t>{7, 4, 3, 0}));
  EXPECT_EQ(fold(SliceAttrs{{0, 9}, {1, 1}, {2, 0}}, {x}).shape(), (Shape{2, 0}));
  EXPECT_EQ(list<int64_t>(fold(SliceAttrs{{1, 1}, {kHighest, 1}, {1, 1}}, {x})), (std::vector<int64_t>{5})) << "one element, huge step";
}

TEST(Evaluate, PadModes) {
  const Tensor x = floats({4}, {1, 2, 3, 4});
  EXPECT_EQ(list<float>(fold(PadAttrs{{2}, {1}, PadMode::kConstant, 9}, {x})), (std::vector<float>{9, 9, 1, 2, 3, 4, 9}));
  EXPECT_EQ(list<float>(fold(PadAttrs{{2}, {3}, PadMode::kReflect}, {x})), (std::vector<float>{3, 2, 1, 2, 3, 4, 3, 2, 1}));
  EXPECT_EQ(list<float>(fold(PadAttrs{{2}, {1}, PadMode::kEdge}, {x})), (std::vector<float>{1, 1, 1, 2, 3, 4, 4}));
  EXPECT_EQ(list<float>(fold(PadAttrs{{-1}, {-2}}, {x})), (std::vector<float>{2}));
  EXPECT_EQ(list<float>(fold(PadAttrs{{-1}, {2}, PadMode::kReflect}, {x})), (std::vector<float>{2, 3, 4, 3, 2}));
  EXPECT_EQ(list<float>(fold(PadAttrs{{0, 1}, {1, 0}, PadMode::kConstant, -1}, {floats({1, 2}, {1, 2})})),
            (std::vector<float>{-1, 1, 2, -1, -1, -1}));
  EXPECT_EQ(list<int64_t>(fold(PadAttrs{{0}, {2}, PadMode::kConstant, 7}, {ints({1}, {5})})), (std::vector<int64_t>{5, 7, 7}));
  EXPECT_EQ(list<uint8_t>(fold(PadAttrs{{1}, {0}, PadMode::kConstant, 1}, {bools({1}, {0})})), (std::vector<uint8_t>{1, 0}));
  expect_mentions(error_of([] { fold(PadAttrs{{1}, {0}, PadMode::kConstant, kInf}, {ints({1}, {5})}); }), {"int64"});
}

TEST(Evaluate, GatherWhereExpand) {
  const Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(list<float>(fold(GatherAttrs{1}, {x, ints({2, 1}, {-1, 0})})), (std::vector<float>{3, 1, 6, 4}));
  EXPECT_EQ(list<float>(fold(GatherAttrs{0}, {x, ints({}, {1})})), (std::vector<float>{4, 5, 6}));
  expect_mentions(error_of([&] { fold(GatherAttrs{0}, {x, ints({1}, {-3})}); }), {"index -3", "2x3"});
  EXPECT_EQ(list<float>(fold(WhereAttrs{}, {bools({3}, {1, 0, 1}), x, floats({}, {0})})), (std::vector<float>{1, 0, 3, 4, 0, 6}));
  EXPECT_EQ(list<int64_t>(fold(WhereAttrs{}, {bools({}, {0}), ints({1}, {1}), ints({1}, {2})})), (std::vector<int64_t>{2}));
  EXPECT_EQ(list<float>(fold(ExpandAttrs{{2, 2, 3}}, {floats({2, 1}, {1, 2})})), (std::vector<float>{1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2}));
}

TEST(Evaluate, LeavesConvolutionsAndPoolingToTheBackends) {
  Graph g;
  const ValueId x = g.add_constant("x", Tensor(DType::kF32, {1, 1, 4, 4})), w = g.add_constant("w", Tensor(DType::kF32, {1, 1, 1, 1}));
  EXPECT_FALSE(g.is_constant(g.add_node("conv", ConvAttrs{}, {x, w})));
  EXPECT_FALSE(g.is_constant(g.add_node("pool", PoolAttrs{}, {x})));
  EXPECT_FALSE(g.is_constant(g.add_node("resize", ResizeAttrs{ResizeMode::kLinear, 2, 2}, {x})));
}

}  // namespace
}  // namespace actmatch
