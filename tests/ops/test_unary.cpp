#include "tests/ops/op_check.h"

namespace actmatch::test {
namespace {

struct Function {
  UnaryAttrs attrs;
  std::vector<double> kinks;
  double low = -2, high = 2;
};
const std::vector<Function> kFunctions = {
    {{UnaryKind::kRelu}, {0}},
    {{UnaryKind::kLeakyRelu, 0.125f}, {0}},
    {{UnaryKind::kLeakyRelu, -0.5f}, {0}},
    {{UnaryKind::kClip, 0.0f, 6.0f}, {0, 6}, -2, 8},
    {{UnaryKind::kClip, -0.5f, 0.75f}, {-0.5, 0.75}},
    {{UnaryKind::kClip, 0.25f, 1.0f}, {0.25, 1}},
    {{UnaryKind::kSigmoid}, {}},
    {{UnaryKind::kTanh}, {}},
    {{UnaryKind::kExp}, {}},
    {{UnaryKind::kLog}, {}, 0.3, 3},
    {{UnaryKind::kSqrt}, {}, 0.3, 3},
    {{UnaryKind::kReciprocal}, {}, 0.4, 3},
    {{UnaryKind::kReciprocal}, {}, -3, -0.4},
    {{UnaryKind::kNeg}, {}},
    {{UnaryKind::kAbs}, {0}},
    {{UnaryKind::kErf}, {}},
    {{UnaryKind::kHardSigmoid, 0.2f, 0.5f}, {-2.5, 2.5}, -4, 4},
    {{UnaryKind::kHardSwish}, {-3, 3}, -5, 5},
    {{UnaryKind::kElu, 1.0f}, {0}},
    {{UnaryKind::kElu, 0.5f}, {0}},
    {{UnaryKind::kSoftplus}, {}},
    {{UnaryKind::kSin}, {}},
    {{UnaryKind::kCos}, {}},
    {{UnaryKind::kTan}, {}, -1.2, 1.2},
    {{UnaryKind::kAsin}, {}, -0.9, 0.9},
    {{UnaryKind::kAcos}, {}, -0.9, 0.9},
    {{UnaryKind::kAtan}, {}},
    {{UnaryKind::kSinh}, {}},
    {{UnaryKind::kCosh}, {}},
    {{UnaryKind::kAsinh}, {}},
    {{UnaryKind::kAcosh}, {}, 1.2, 3},
    {{UnaryKind::kAtanh}, {}, -0.8, 0.8},
    {{UnaryKind::kGelu}, {}, -4, 4},
    {{UnaryKind::kGeluTanh}, {}, -4, 4},
    {{UnaryKind::kIdentity}, {}},
};
// Library functions are right to an ulp or two, and a derivative is a handful of operations on numbers up to e^2 or 1/0.4^2:
// 16 roundings relative to the result.
const Tolerance kFew = epsilons(16);

std::string name_of_case(const UnaryAttrs& a) {
  return std::string(name_of(a.kind)) + " " + std::to_string(a.alpha) + " " + std::to_string(a.beta);
}

TEST(Unary, AllFunctionsInAllShapes) {
  for (const Function& f : kFunctions)
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{5}, Shape{3, 1, 2}, Shape{2, 5, 3, 3}, Shape{2, 0, 3}}) {
      RandomArrays random(14);
      check_op({name_of_case(f.attrs), f.attrs, {{random.away_from(shape, f.kinks, f.low, f.high)}}}, kFew, kFew);
    }
}

// Blocked layouts have padding that must stay zero; functions with f(0) != 0 have to mind it. The global sum that follows and the
// convolution that reads the result would show it.
TEST(Unary, PaddedLayouts) {
  for (const Function& f : kFunctions)
    for (int64_t channels : {3, 12, 17, 32}) {
      SCOPED_TRACE(name_of_case(f.attrs) + " of " + std::to_string(channels) + " channels");
      RandomArrays random(15);
      Graph graph;
      const ValueId x = graph.add_input("x", DType::kF32, {2, channels, 5, 4});
      const ValueId y = graph.add_node("f", f.attrs, {identity_conv(graph, x, "before")});
      const ValueId after =
          graph.add_node("after", ConvAttrs{{1, 1}, {1, 1, 1, 1}},
                         {y, graph.add_constant("w", to_tensor(random.uniform({channels + 1, channels, 3, 3}, -0.2, 0.2)))});
      const ValueId sum = graph.add_node("sum", ReduceAttrs{ReduceKind::kMean, {2, 3}, true}, {y});
      graph.mark_output(after);
      graph.mark_output(sum);
      CompileOptions options;
      options.gradients = {{after, sum}, {x}};
      const Arrays seeds{{after, random.uniform(graph.value(after).shape)}, {sum, random.uniform(graph.value(sum).shape)}};
      expect_like_oracle(tested_backend(), graph, options, {{x, random.away_from({2, channels, 5, 4}, f.kinks, f.low, f.high)}}, seeds,
                         squared(1e-11),
                         squared(1e-11));  // sums of up to 300 products of fp32 numbers
    }
}

TEST(Unary, AtTheKinksTheGradientIsTheFlatSides) {
  for (const UnaryAttrs& attrs : {UnaryAttrs{UnaryKind::kRelu}, UnaryAttrs{UnaryKind::kClip, -1.0f, 1.0f}, UnaryAttrs{UnaryKind::kAbs}})
    for (const Surroundings::Activation activation : {Surroundings::Activation::kNone, Surroundings::Activation::kRelu})
      check_in(tested_backend(), {name_of_case(attrs), attrs, {{of_values({5}, {-1, 0, 1, -3, 3})}}}, {false, false, activation}, exact(),
               exact());
}

TEST(Unary, RoundingHasNoGradient) {
  RandomArrays random(16);
  for (UnaryKind kind : {UnaryKind::kFloor, UnaryKind::kCeil, UnaryKind::kRound}) {
    const OpCase c{"rounding", UnaryAttrs{kind}, {{random.uniform({2, 9, 3, 3}, -5, 5)}}};
    check_gradient(c);
    for (bool behind_conv : {false, true})
      check_in(tested_backend(), c, {behind_conv, false, Surroundings::Activation::kNone}, exact(), exact());
  }
  check_in(tested_backend(), {"halves", UnaryAttrs{UnaryKind::kRound}, {{of_values({6}, {-2.5, -1.5, -0.5, 0.5, 1.5, 2.5})}}}, {}, exact(),
           exact());
}

TEST(Unary, BooleansAndIntegers) {
  RandomArrays random(17);
  for (UnaryKind kind : {UnaryKind::kNot, UnaryKind::kIdentity})
    check_in(tested_backend(), {"of flags", UnaryAttrs{kind}, {flags(random.flags({3, 4}))}}, {}, exact(), exact());
  check_in(tested_backend(), {"of integers", UnaryAttrs{UnaryKind::kIdentity}, {{of_values({3}, {-5, 0, 7}), Leaf::kInput, DType::kI64}}},
           {}, exact(), exact());
}

TEST(Unary, LargeArguments) {  // no overflow where the result is finite
  for (const UnaryKind kind : {UnaryKind::kSigmoid, UnaryKind::kTanh, UnaryKind::kSoftplus, UnaryKind::kErf, UnaryKind::kElu,
                               UnaryKind::kHardSwish, UnaryKind::kGelu, UnaryKind::kGeluTanh})
    check_in(tested_backend(), {name_of(kind), UnaryAttrs{kind, 1.0f}, {{of_values({4}, {-100, -20, 20, 100})}}}, {}, kFew, kFew);
}

}  // namespace
}  // namespace actmatch::test
