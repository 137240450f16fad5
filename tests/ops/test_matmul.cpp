#include "tests/ops/op_check.h"

namespace actmatch::test {
namespace {

// fp32 sums of up to 33 products in any order: 1e-13 squared is usual, 1e-11 leaves room and catches fewer bits.
const Tolerance kSums = squared(1e-11);

struct Sizes {
  const char* name;
  MatMulAttrs attrs;
  Shape a, b;
};
const std::vector<Sizes> kSizes = {
    {"matrices", {}, {3, 5}, {5, 4}},
    {"left transposed", {true, false}, {5, 3}, {5, 4}},
    {"right transposed", {false, true}, {3, 5}, {4, 5}},
    {"both transposed", {true, true}, {5, 3}, {4, 5}},
    {"row by matrix", {}, {1, 33}, {33, 7}},
    {"inner extent 1", {}, {3, 1}, {1, 4}},
    {"batch on the left", {}, {2, 3, 5}, {5, 4}},
    {"batch on the left, transposed", {true, false}, {2, 5, 3}, {5, 4}},
    {"batch on the right", {}, {3, 5}, {2, 5, 4}},
    {"batch on both", {false, true}, {2, 3, 2, 5}, {2, 3, 4, 5}},
    {"batches that broadcast", {}, {2, 1, 3, 5}, {4, 5, 2}},
    {"batches that broadcast, both transposed", {true, true}, {1, 3, 5, 2}, {2, 1, 4, 5}},
    {"a batch of one", {}, {3, 2, 5}, {1, 5, 4}},
};

OpCase product_case(const Sizes& s, bool bias, Leaf leaf) {
  RandomArrays random(4);
  OpCase c{s.name, s.attrs, {{random.uniform(s.a)}, {random.uniform(s.b), leaf}}};
  if (bias) c.operands.push_back({random.uniform({s.b[s.b.size() - (s.attrs.transpose_b ? 2 : 1)]}), leaf});
  return c;
}

TEST(MatMul, GradientsOfTheReferenceMatchDifferences) {
  for (const Sizes& s : kSizes)
    for (bool bias : {false, true}) check_gradient(product_case(s, bias, Leaf::kInput));
}
TEST(MatMul, TwoComputedMatrices) {
  for (const Sizes& s : kSizes)
    for (bool bias : {false, true}) check_backend(product_case(s, bias, Leaf::kInput), kSums, kSums);
}
TEST(MatMul, WeightsAndBias) {
  for (const Sizes& s : kSizes)
    for (Leaf leaf : {Leaf::kConstant, Leaf::kParameter}) check_backend(product_case(s, true, leaf), kSums, kSums);
}
TEST(MatMul, EmptyExtents) {
  for (const Sizes& s : {Sizes{"no rows", {}, {0, 5}, {5, 4}}, Sizes{"no batch", {}, {0, 3, 5}, {5, 4}}}) {
    check_gradient(product_case(s, true, Leaf::kInput));
    check_backend(product_case(s, true, Leaf::kParameter), exact(), exact());
  }
  // A sum of nothing: the bias alone, whose gradient sums two rows.
  const OpCase empty_sum = product_case({"no inner extent", {}, {2, 0}, {0, 3}}, true, Leaf::kParameter);
  check_gradient(empty_sum);
  check_backend(empty_sum, exact(), epsilons(2));
}

// The same value on both sides: both gradients add.
TEST(MatMul, OfAValueWithItself) {
  RandomArrays random(6);
  Graph graph;
  const ValueId x = graph.add_input("x", DType::kF32, {2, 4, 4});
  const ValueId y = graph.add_node("square", MatMulAttrs{false, true}, {x, x});
  graph.mark_output(y);
  CompileOptions options;
  options.gradients = {{y}, {x}};
  expect_like_oracle(tested_backend(), graph, options, {{x, random.uniform({2, 4, 4})}}, {{y, random.uniform({2, 4, 4})}}, kSums, kSums);
}

}  // namespace
}  // namespace actmatch::test
