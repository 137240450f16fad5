// Integers and booleans that depend on the input, which only the CPU computes with, and gathers by computed indices.
#include "tests/ops/graph_maker.h"

namespace actmatch::test {
namespace {

Operand integers(Doubles values) { return {std::move(values), Leaf::kInput, DType::kI64}; }
void check_exactly(const std::string& name, Attributes attrs, std::vector<Operand> operands) {
  check_in(tested_backend(), {name, std::move(attrs), std::move(operands)}, {}, exact(), exact());
}
Doubles whole(RandomArrays& random, Shape shape, int64_t low = -9, int64_t high = 9) {
  Doubles a(std::move(shape));
  for (double& v : a.data) v = static_cast<double>(random.integer(low, high));
  return a;
}

TEST(Integers, ElementByElement) {
  RandomArrays random(501);
  for (UnaryKind kind : {UnaryKind::kNeg, UnaryKind::kAbs, UnaryKind::kRelu})
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{2, 0}, Shape{2, 3, 1}})
      check_exactly(name_of(kind), UnaryAttrs{kind}, {integers(whole(random, shape))});
  for (BinaryKind kind : {BinaryKind::kAdd, BinaryKind::kSub, BinaryKind::kMul, BinaryKind::kMin, BinaryKind::kMax, BinaryKind::kEqual,
                          BinaryKind::kLess, BinaryKind::kLessOrEqual, BinaryKind::kGreater, BinaryKind::kGreaterOrEqual})
    for (const auto& [a, b] : std::vector<std::pair<Shape, Shape>>{{{3}, {3}}, {{2, 1}, {3}}, {{}, {2, 2}}, {{0, 2}, {2}}})
      check_exactly(name_of(kind), BinaryAttrs{kind}, {integers(whole(random, a)), integers(whole(random, b))});
}

TEST(Integers, ReducedPaddedAndGathered) {
  RandomArrays random(502);
  for (ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMax, ReduceKind::kMin})
    for (bool keep : {true, false}) check_exactly("reduced", ReduceAttrs{kind, {0, 2}, keep}, {integers(whole(random, {2, 3, 4}))});
  check_exactly("padded", PadAttrs{{1, 0}, {0, 2}, PadMode::kConstant, 7}, {integers(whole(random, {2, 3}))});
  check_exactly("padded flags", PadAttrs{{1, 0}, {0, 2}, PadMode::kEdge, 0}, {flags(random.flags({2, 3}))});
  check_exactly("gathered", GatherAttrs{1}, {integers(whole(random, {2, 5})), integers(whole(random, {3}, -5, 4))});
  check_exactly("gathered flags", GatherAttrs{0}, {flags(random.flags({4, 2})), integers(whole(random, {2, 2}, -4, 3))});
}

TEST(Integers, DivisionByZeroNamesTheNode) {
  Graph graph;
  const ValueId a = graph.add_input("a", DType::kI64, {1}), b = graph.add_input("b", DType::kI64, {1});
  graph.mark_output(graph.add_node("ratio", BinaryAttrs{BinaryKind::kDiv}, {a, b}));
  const auto program = tested_backend().compile(graph, {});
  const int64_t one = 1, zero = 0;
  std::memcpy(program->data(a), &one, sizeof(one));
  std::memcpy(program->data(b), &zero, sizeof(zero));
  try {
    program->forward();
    FAIL() << "there is no result";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("ratio"), std::string::npos) << e.what();
  }
}

TEST(TopK, OrdersAlongAnyAxis) {
  RandomArrays random(503);
  for (bool largest : {true, false})
    for (bool last_first : {true, false}) {
      const auto check = [&](Shape shape, int64_t axis, int64_t k) {
        check_exactly("of floats", TopKAttrs{axis, k, largest, last_first}, {{random.distinct(shape)}});
        check_exactly("of equal integers", TopKAttrs{axis, k, largest, last_first}, {integers(whole(random, shape, 0, 2))});
      };
      check({6}, 0, 6);
      check({1}, 0, 1);
      check({2, 5, 3}, 1, 2);
      check({2, 5, 3}, 2, 0);
      check({3, 0}, 0, 2);
    }
}

TEST(TopK, HasNoGradient) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::kF32, {4});
  const ValueId best = graph.add_node("best", TopKAttrs{0, 1}, {x});
  graph.mark_output(graph.add_node("number", CastAttrs{DType::kF32}, {best}));
  EXPECT_THROW(make_gradient_schedule(graph, {{graph.outputs()[0]}, {x}}), Error);
}

TEST(Gather, ByComputedIndices) {
  RandomArrays random(504);
  const auto check = [&](Shape x, int64_t axis, Shape picked) {
    const int64_t extent = x[static_cast<size_t>(axis)];
    check_op({"axis " + std::to_string(axis) + " of " + to_string(x),
              GatherAttrs{axis},
              {{random.uniform(x)}, integers(whole(random, std::move(picked), -extent, extent - 1))}},
             exact(), epsilons(8));  // as many as nine gradients meet
  };
  check({5}, 0, {});
  check({1}, 0, {3});
  check({4, 3}, 0, {2, 2});
  check({2, 6, 3}, 1, {9});
  check({2, 9, 3, 3}, 1, {4});
  check({2, 3, 1}, 2, {1});
  check({3, 2}, 0, {0});
  check({2, 0, 3}, 2, {2});
}

TEST(Gather, AComputedIndexOutsideTheAxisNamesTheNode) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::kF32, {4}), i = graph.add_input("i", DType::kI64, {1});
  graph.mark_output(graph.add_node("pick", GatherAttrs{0}, {x, i}));
  const auto program = tested_backend().compile(graph, {});
  std::fill_n(program->data(x), 4, 0.0f);
  for (const int64_t index : {int64_t{4}, int64_t{-5}}) {
    std::memcpy(program->data(i), &index, sizeof(index));
    try {
      program->forward();
      FAIL() << "there is no such element";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("pick"), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace actmatch::test
