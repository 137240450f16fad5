// Operators that only move elements: the result is exact, and a gradient is too where every element is used at most once.
#include "tests/ops/op_check.h"

namespace actmatch::test {
namespace {

const Tolerance kSums = epsilons(64);  // gradients that add up to 60 numbers of size 1

TEST(Reshape, AnyShapeToAnyOther) {
  const std::vector<std::pair<Shape, Shape>> shapes = {
      {{2, 3, 4}, {4, 6}},      {{2, 9, 3, 5}, {2, 135}}, {{6}, {1, 2, 1, 3}},      {{1, 1}, {}},       {{}, {1}},
      {{2, 17, 1, 1}, {2, 17}}, {{0, 3}, {3, 0, 2}},      {{2, 16, 2, 3}, {32, 6}}, {{12, 2}, {2, 12}}, {{2, 8, 3, 3}, {2, 2, 4, 3, 3}}};
  for (const auto& [from, to] : shapes)
    check_op({to_string(from) + " to " + to_string(to), ReshapeAttrs{to}, {{RandomArrays(41).uniform(from)}}}, exact(), exact());
}

TEST(Transpose, AllPermutationsOfFourAxes) {
  std::vector<int64_t> perm{0, 1, 2, 3};
  do check_op({"4 axes", TransposeAttrs{perm}, {{RandomArrays(42).uniform({2, 3, 4, 5})}}}, exact(), exact());
  while (std::next_permutation(perm.begin(), perm.end()));
}
TEST(Transpose, OtherRanks) {
  for (const auto& [shape, perm] :
       std::vector<std::pair<Shape, std::vector<int64_t>>>{{{}, {}},
                                                           {{5}, {0}},
                                                           {{3, 1}, {1, 0}},
                                                           {{2, 2, 2, 3, 2}, {0, 3, 4, 1, 2}},
                                                           {{2, 0, 3}, {2, 0, 1}},
                                                           {{1, 2, 2, 2, 3, 2}, {0, 1, 4, 2, 5, 3}}})
    check_op({to_string(shape), TransposeAttrs{perm}, {{RandomArrays(43).uniform(shape)}}}, exact(), exact());
}

TEST(Slice, StartsStepsAndSizes) {
  const std::vector<std::pair<Shape, SliceAttrs>> slices = {
      {{5}, {{1}, {1}, {3}}},
      {{5}, {{4}, {-1}, {5}}},
      {{7}, {{6}, {-3}, {3}}},
      {{7}, {{0}, {2}, {4}}},
      {{7}, {{5}, {3}, {1}}},
      {{2, 9, 5, 4}, {{0, 3, 1, 0}, {1, 1, 2, 1}, {2, 5, 2, 4}}},
      {{2, 9, 5, 4}, {{1, 8, 4, 3}, {-1, -2, -1, -3}, {2, 5, 5, 2}}},
      {{3, 4}, {{0, 0}, {1, 1}, {3, 4}}},
      {{3, 4}, {{0, 0}, {1, 1}, {0, 4}}},
      {{3, 4}, {{2, 2}, {1, 1}, {1, 0}}},
      {{}, {{}, {}, {}}},
  };
  for (const auto& [shape, attrs] : slices) check_op({to_string(shape), attrs, {{RandomArrays(44).uniform(shape)}}}, exact(), exact());
}

TEST(Pad, ModesAndCrops) {
  const std::vector<std::pair<Shape, PadAttrs>> pads = {
      {{4}, {{2}, {1}}},
      {{4}, {{-1}, {2}}},
      {{4}, {{3}, {-2}}},
      {{2, 3, 4, 5}, {{0, 0, 1, 2}, {0, 0, 3, 1}}},
      {{2, 9, 4, 5}, {{0, 0, -1, 2}, {0, 0, 1, -3}}},
      {{2, 8, 4, 4}, {{0, 4, 0, 0}, {0, 4, 0, 0}}},
      {{3, 1}, {{0, 0}, {1, 0}}},
  };
  for (const auto& [shape, attrs] : pads)
    for (PadMode mode : {PadMode::kConstant, PadMode::kReflect, PadMode::kEdge}) {
      PadAttrs a = attrs;
      a.mode = mode;
      a.value = 1.5f;
      bool fits = true;  // a reflection needs an axis longer than the pad
      for (size_t i = 0; i < shape.size(); ++i) fits = fits && std::max(a.before[i], a.after[i]) < shape[i];
      if (mode != PadMode::kReflect || fits) check_op({to_string(shape), a, {{RandomArrays(45).uniform(shape)}}}, exact(), kSums);
    }
  check_op({"fills nothing", PadAttrs{{1, 0}, {1, 0}, PadMode::kConstant, 2.0f}, {{Doubles({0, 3})}}}, exact(), exact());
  check_op({"a scalar", PadAttrs{{}, {}}, {{of_values({}, {3})}}}, exact(), exact());
  check_op({"crops everything", PadAttrs{{-2}, {-1}}, {{of_values({3}, {1, 2, 3})}}}, exact(), exact());
}

TEST(Gather, AxesAndIndices) {
  const auto check = [](const Shape& x, int64_t axis, const Shape& shape, const std::vector<double>& indices) {
    check_op({to_string(x) + " axis " + std::to_string(axis),
              GatherAttrs{axis},
              {{RandomArrays(46).uniform(x)}, constant(of_values(shape, indices), DType::kI64)}},
             exact(), kSums);
  };
  check({5}, 0, {3}, {4, 0, 2});
  check({5}, 0, {}, {3});
  check({5}, 0, {4}, {1, 1, -1, -5});  // repeated and negative
  check({3, 4, 2}, 1, {2, 2}, {0, 3, 3, 1});
  check({2, 9, 3, 3}, 1, {4}, {8, 0, 0, 5});
  check({2, 3, 4, 5}, 3, {}, {2});
  check({2, 3}, 0, {0}, {});
  check({2, 0}, 0, {3}, {1, 0, 1});
}
TEST(Expand, RepeatsAxes) {
  for (const auto& [from, to] : std::vector<std::pair<Shape, Shape>>{{{3, 1}, {3, 4}},
                                                                     {{1}, {2, 3, 4}},
                                                                     {{}, {2, 2}},
                                                                     {{2, 9, 1, 1}, {2, 9, 3, 4}},
                                                                     {{1, 3, 1, 5}, {2, 3, 4, 5}},
                                                                     {{2, 3}, {2, 3}},
                                                                     {{1, 3}, {0, 3}},
                                                                     {{}, {}}})
    check_op({to_string(from) + " to " + to_string(to), ExpandAttrs{to}, {{RandomArrays(47).uniform(from)}}}, exact(), kSums);
}

TEST(Concat, AxesAndCounts) {
  const auto check = [](int64_t axis, const std::vector<Shape>& shapes) {
    RandomArrays random(48);
    OpCase c{"axis " + std::to_string(axis) + " of " + to_string(shapes[0]), ConcatAttrs{axis}, {}};
    for (const Shape& s : shapes) c.operands.push_back({random.uniform(s)});
    check_op(c, exact(), exact());
  };
  check(0, {{3}, {2}, {4}});
  check(0, {{5}});
  check(1, {{2, 3}, {2, 0}, {2, 1}});
  check(0, {{1, 3, 2, 2}, {2, 3, 2, 2}});
  check(2, {{2, 8, 2, 3}, {2, 8, 1, 3}});
  check(3, {{2, 8, 2, 3}, {2, 8, 2, 1}});
  check(1, {{0, 3}, {0, 2}});
}

// Whole blocks can be moved only when the channels divide by them: every mixture of counts on both sides of 8 and 16.
TEST(Concat, ChannelCountsBehindConvolutions) {
  for (const std::vector<int64_t>& channels : std::vector<std::vector<int64_t>>{
           {8, 8}, {16, 16}, {16, 32}, {8, 16}, {16, 3}, {3, 16}, {12, 4}, {17, 15}, {1, 1, 1}, {16, 8, 24}, {24, 16, 5}, {32}}) {
    RandomArrays random(49);
    OpCase c{"channels", ConcatAttrs{1}, {}};
    for (int64_t n : channels) c.operands.push_back({random.uniform({2, n, 3, 5})});
    for (bool shared : {false, true})
      check_in(tested_backend(), c, {true, shared, Surroundings::Activation::kNone}, exact(), shared ? kSums : exact());
  }
}

TEST(Concat, OfAValueWithItself) {
  RandomArrays random(50);
  for (int64_t channels : {5, 16}) {
    Graph graph;
    const Shape shape{2, channels, 3, 3};
    const ValueId x = graph.add_input("x", DType::kF32, shape);
    const ValueId v = identity_conv(graph, x, "conv");
    const ValueId y = graph.add_node("twice", ConcatAttrs{1}, {v, v});
    graph.mark_output(y);
    CompileOptions options;
    options.gradients = {{y}, {x}};
    expect_like_oracle(tested_backend(), graph, options, {{x, random.uniform(shape)}}, {{y, random.uniform(graph.value(y).shape)}}, exact(),
                       kSums);
  }
}

TEST(Movement, OfIntegersAndFlags) {
  RandomArrays random(51);
  const Operand numbers{of_values({2, 3}, {1, -2, 3, -4, 5, 6}), Leaf::kInput, DType::kI64};
  const Operand bools = flags(random.flags({2, 3}));
  for (const Operand& x : {numbers, bools}) {
    const auto check = [&](const Attributes& attrs, std::vector<Operand> operands) {
      check_in(tested_backend(), {"moved", attrs, std::move(operands)}, {}, exact(), exact());
    };
    check(ReshapeAttrs{{3, 2}}, {x});
    check(TransposeAttrs{{1, 0}}, {x});
    check(SliceAttrs{{1, 2}, {-1, -2}, {2, 2}}, {x});
    check(ExpandAttrs{{2, 2, 3}}, {x});
    check(ConcatAttrs{1}, {x, x});
    check(WhereAttrs{}, {bools, x, x});
  }
}

}  // namespace
}  // namespace actmatch::test
