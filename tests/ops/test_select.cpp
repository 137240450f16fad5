// Where, casts, and the per-channel operators.
#include "tests/ops/op_check.h"

namespace actmatch::test {
namespace {

TEST(Where, AllKindsOfBroadcasting) {
  for (const auto& shapes : std::vector<std::array<Shape, 3>>{{{{2, 3}, {2, 3}, {2, 3}}},
                                                              {{{3}, {2, 3}, {}}},
                                                              {{{2, 1, 3, 1}, {2, 9, 1, 4}, {9, 3, 4}}},
                                                              {{{}, {4}, {4}}},
                                                              {{{}, {}, {}}},
                                                              {{{2, 4}, {1, 4}, {2, 1}}},
                                                              {{{0, 2}, {2}, {1, 1}}}}) {
    RandomArrays random(61);
    const OpCase c{
        to_string(shapes[0]), WhereAttrs{}, {flags(random.flags(shapes[0])), {random.uniform(shapes[1])}, {random.uniform(shapes[2])}}};
    check_op(c, exact(), epsilons(80));  // sums of up to 72 gradients of size 1
  }
}

TEST(Where, ConditionFromAComparison) {  // a hand-written ReLU
  RandomArrays random(62);
  Graph graph;
  const ValueId x = graph.add_input("x", DType::kF32, {2, 9, 4, 3});
  const ValueId v = identity_conv(graph, x, "conv");
  const ValueId zero = graph.add_constant("zero", Tensor::scalar(0.0f));
  const ValueId y = graph.add_node("y", WhereAttrs{}, {graph.add_node("positive", BinaryAttrs{BinaryKind::kGreater}, {v, zero}), v, zero});
  graph.mark_output(y);
  CompileOptions options;
  options.gradients = {{y}, {x}};
  expect_like_oracle(tested_backend(), graph, options, {{x, random.away_from({2, 9, 4, 3}, {0})}}, {{y, random.uniform({2, 9, 4, 3})}},
                     exact(), exact());
}

TEST(Cast, BetweenAllTypes) {
  const Operand floats{of_values({2, 3}, {-2.75, -0.5, 0, 0.5, 1, 2.75})};
  const Operand integers{of_values({2, 3}, {-2, -1, 0, 1, 5, 7}), Leaf::kInput, DType::kI64};
  const Operand bools = flags(of_values({2, 3}, {0, 1, 1, 0, 0, 1}));
  for (const Operand& x : {floats, integers, bools})
    for (DType to : {DType::kF32, DType::kI64, DType::kBool}) {
      SCOPED_TRACE(std::string(name_of(x.dtype)) + " to " + name_of(to));
      check_in(tested_backend(), {"cast", CastAttrs{to}, {x}}, {}, exact(), exact());
      check_in(tested_backend(), {"cast of nothing", CastAttrs{to}, {{Doubles({0, 2}), Leaf::kInput, x.dtype}}}, {}, exact(), exact());
    }
  check_op({"to itself", CastAttrs{DType::kF32}, {{RandomArrays(63).uniform({2, 9, 3, 2})}}}, exact(), exact());
}

OpCase channel_case(const Shape& shape, bool batch_norm) {
  RandomArrays random(64);
  const Shape channels{shape[1]};
  if (!batch_norm)
    return {to_string(shape),
            ScaleShiftAttrs{},
            {{random.uniform(shape)}, constant(random.uniform(channels)), constant(random.uniform(channels))}};
  return {to_string(shape),
          BatchNormAttrs{1e-3f},
          {{random.uniform(shape)},
           constant(random.uniform(channels)),
           constant(random.uniform(channels)),
           constant(random.uniform(channels)),
           constant(random.uniform(channels, 0.5, 2))}};
}

TEST(ScaleShift, ShapesAndChannelCounts) {
  for (const Shape& shape : {Shape{2, 5}, Shape{2, 3, 4}, Shape{1, 1, 3, 3}, Shape{2, 8, 3, 3}, Shape{2, 12, 5, 3}, Shape{3, 16, 1, 1},
                             Shape{2, 17, 4, 2}, Shape{2, 33, 3, 3}, Shape{2, 3, 2, 2, 2}, Shape{0, 3, 2, 2}, Shape{2, 3, 0, 2}})
    check_op(channel_case(shape, false), epsilons(3), epsilons(3));  // a product and a sum
}

TEST(BatchNorm, GradientOfTheReferenceMatchesDifferences) {
  for (const Shape& shape : {Shape{2, 5}, Shape{2, 3, 4, 3}}) check_gradient(channel_case(shape, true));
}

TEST(BatchNorm, IsRefusedUnlessThePassesFoldedIt) {
  const OpCase c = channel_case({1, 3, 2, 2}, true);
  Graph graph;
  std::vector<ValueId> inputs{graph.add_input("x", DType::kF32, c.operands[0].value.shape)};
  for (size_t i = 1; i < 5; ++i) inputs.push_back(graph.add_constant("c" + std::to_string(i), to_tensor(c.operands[i].value)));
  graph.mark_output(graph.add_node("norm", c.attrs, inputs));
  EXPECT_NE(tested_backend().why_unsupported(graph, graph.node(0)).find("passes"), std::string::npos);
  EXPECT_THROW(tested_backend().compile(graph, {}), Error);
}

}  // namespace
}  // namespace actmatch::test
