#include "tests/ops/op_check.h"

namespace actmatch::test {
namespace {

// A handful of operations an element, then sums over at most 60 broadcast elements of size up to 10.
const Tolerance kForward = epsilons(8);
const Tolerance kBackward = epsilons(100);

const std::vector<std::pair<Shape, Shape>> kShapes = {
    {{2, 3, 4, 5}, {2, 3, 4, 5}},
    {{2, 3, 4, 5}, {}},
    {{}, {3}},
    {{}, {}},
    {{2, 3, 4, 5}, {5}},
    {{2, 3, 4, 5}, {3, 1, 1}},
    {{3, 1, 1}, {2, 3, 4, 5}},
    {{2, 3, 4, 5}, {2, 3, 1, 1}},
    {{2, 1, 4, 1}, {1, 3, 1, 5}},
    {{1, 1}, {4, 3}},
    {{7}, {7}},
    {{2, 1, 3}, {4, 1}},
    {{2, 3, 1, 1}, {2, 3, 4, 5}},
    {{2, 0, 3}, {3}},
    {{0}, {1}},
};
const std::vector<BinaryKind> kArithmetic = {BinaryKind::kAdd, BinaryKind::kSub, BinaryKind::kMul, BinaryKind::kDiv,
                                             BinaryKind::kPow, BinaryKind::kMin, BinaryKind::kMax};

std::pair<Doubles, Doubles> operands(BinaryKind kind, const Shape& a, const Shape& b) {
  RandomArrays random(21);
  switch (kind) {
    case BinaryKind::kDiv: return {random.uniform(a), random.uniform(b, 0.5, 2)};
    case BinaryKind::kPow: return {random.uniform(a, 0.3, 2), random.uniform(b, -2, 3)};
    case BinaryKind::kMin:
    case BinaryKind::kMax: {  // multiples of 1/8 against odd multiples of 1/16: never closer than 1/16
      Doubles x = random.uniform(a), y = random.uniform(b);
      for (double& v : x.data) v = std::round(v * 8) / 8;
      for (double& v : y.data) v = std::round(v * 8) / 8 + 0.0625;
      return {x, y};
    }
    default: return {random.uniform(a), random.uniform(b)};
  }
}

TEST(Binary, ArithmeticWithAllKindsOfBroadcasting) {
  for (BinaryKind kind : kArithmetic)
    for (const auto& [a, b] : kShapes) {
      const auto [x, y] = operands(kind, a, b);
      const OpCase c{std::string(name_of(kind)) + " " + to_string(a) + " by " + to_string(b), BinaryAttrs{kind}, {{x}, {y}}};
      check_op(c, kForward, kBackward);
    }
}

TEST(Binary, WithAConstantOnEitherSide) {
  for (BinaryKind kind : kArithmetic)
    for (const auto& [a, b] : {std::pair<Shape, Shape>{{2, 12, 3, 4}, {2, 12, 3, 4}}, {{2, 12, 3, 4}, {12, 1, 1}}})
      for (bool left : {true, false}) {
        const auto [x, y] = operands(kind, left ? b : a, left ? a : b);
        check_backend(
            {name_of(kind), BinaryAttrs{kind}, {{x, left ? Leaf::kConstant : Leaf::kInput}, {y, left ? Leaf::kInput : Leaf::kConstant}}},
            kForward, kBackward);
      }
}

// Feature maps in the layouts that convolutions choose, beside a number, a number a channel, or one for each picture and channel.
TEST(Binary, NumbersAndChannelsBehindConvolutions) {
  for (BinaryKind kind : kArithmetic)
    for (int64_t channels : {8, 12, 16, 17})
      for (const Shape& small :
           {Shape{}, Shape{1}, Shape{channels, 1, 1}, Shape{1, channels, 1, 1}, Shape{2, channels, 1, 1}, Shape{2, 1, 1, 1}})
        for (bool left : {true, false})
          for (Leaf leaf : {Leaf::kConstant, Leaf::kInput}) {
            const Shape map{2, channels, 5, 3};
            const auto [x, y] = operands(kind, left ? small : map, left ? map : small);
            check_backend({std::string(name_of(kind)) + " " + to_string(small) + (left ? " left of " : " right of ") + to_string(map),
                           BinaryAttrs{kind},
                           {{x, left ? leaf : Leaf::kInput}, {y, left ? Leaf::kInput : leaf}}},
                          kForward, kBackward);
          }
}

TEST(Binary, ChannelCountsBehindConvolutions) {
  for (BinaryKind kind : kArithmetic)
    for (int64_t channels : {8, 12, 16, 17}) {
      const auto [x, y] = operands(kind, {2, channels, 5, 3}, {2, channels, 5, 3});
      check_backend({std::string(name_of(kind)) + " of " + std::to_string(channels) + " channels", BinaryAttrs{kind}, {{x}, {y}}}, kForward,
                    kBackward);
    }
}

// x op x: both gradients go to the same place.
TEST(Binary, OfAValueWithItself) {
  for (BinaryKind kind : kArithmetic)
    for (bool behind_conv : {false, true}) {
      SCOPED_TRACE(name_of(kind));
      RandomArrays random(22);
      Graph graph;
      const Shape shape{2, 9, 3, 3};
      const ValueId x = graph.add_input("x", DType::kF32, shape);
      const ValueId v = behind_conv ? identity_conv(graph, x, "conv") : x;
      const ValueId y = graph.add_node("op", BinaryAttrs{kind}, {v, v});
      graph.mark_output(y);
      CompileOptions options;
      options.gradients = {{y}, {x}};
      expect_like_oracle(tested_backend(), graph, options, {{x, random.uniform(shape, 0.5, 1.5)}}, {{y, random.uniform(shape)}}, kForward,
                         kBackward);
    }
}

TEST(Binary, MinAndMaxShareATie) {
  for (BinaryKind kind : {BinaryKind::kMin, BinaryKind::kMax})
    check_backend({name_of(kind), BinaryAttrs{kind}, {{of_values({4}, {1, 2, 3, 0})}, {of_values({4}, {1, 3, 3, -1})}}}, exact(), exact());
}

TEST(Binary, PowerAtZero) {  // x^2, x^1 and x^0 have derivatives at 0; elsewhere a product of three numbers rounds twice
  for (double power : {0.0, 1.0, 2.0})
    check_in(tested_backend(), {"power", BinaryAttrs{BinaryKind::kPow}, {{of_values({3}, {0, -2, 3})}, constant(of_values({}, {power}))}},
             {}, exact(), epsilons(4));
}

TEST(Binary, ComparisonsAndLogic) {
  for (BinaryKind kind :
       {BinaryKind::kEqual, BinaryKind::kLess, BinaryKind::kLessOrEqual, BinaryKind::kGreater, BinaryKind::kGreaterOrEqual})
    for (const auto& [a, b] : kShapes) {
      RandomArrays random(23);
      Doubles x = random.uniform(a, -2, 2), y = random.uniform(b, -2, 2);
      for (auto* values : {&x, &y})
        for (double& v : values->data) v = std::round(v);  // ties happen
      check_backend({name_of(kind), BinaryAttrs{kind}, {{x}, {y}}}, exact(), exact());
    }
  for (BinaryKind kind : {BinaryKind::kAnd, BinaryKind::kOr, BinaryKind::kEqual})
    for (const auto& [a, b] : kShapes) {
      RandomArrays random(24);
      check_backend({name_of(kind), BinaryAttrs{kind}, {flags(random.flags(a)), flags(random.flags(b))}}, exact(), exact());
    }
}

}  // namespace
}  // namespace actmatch::test
