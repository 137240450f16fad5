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
  expect_like_oracle(cpu(), graph, options, {{x, random.uniform({2, 4, 4})}}, {{y, random.uniform({2, 4, 4})}}, kSums, kSums);
}

// A picture's scores and gradients are the same bits whatever the batch it comes in: as a row of a matrix, and as a matrix of a stack.
TEST(MatMul, RowsDoNotDependOnTheOthers) {
  for (const auto& [N, K] : {std::pair<int64_t, int64_t>{4, 8}, {8, 4}, {10, 63}, {100, 512}}) {
    for (const bool transposed : {false, true}) {
      for (const int64_t tokens : {0, 1, 5, 17}) {
        RandomArrays random(8);
        const Doubles weights = random.uniform(transposed ? Shape{N, K} : Shape{K, N}), bias = random.uniform({N});
        const int64_t rows = std::max<int64_t>(tokens, 1), most = 67;
        const Doubles x = random.uniform({most * rows, K}), seed = random.uniform({most * rows, N});
        const auto first = [&](const Doubles& all, int64_t pictures, int64_t width) {
          Doubles part(tokens ? Shape{pictures, rows, width} : Shape{pictures, width});
          std::copy_n(all.data.begin(), pictures * rows * width, part.data.begin());
          return part;
        };
        ProgramRun alone;
        for (const int64_t pictures : {1, 2, 3, 6, 15, 16, 17, 32, 47, 67}) {
          Graph graph;
          const ValueId in = graph.add_input("x", DType::kF32, tokens ? Shape{pictures, rows, K} : Shape{pictures, K});
          const ValueId w = graph.add_constant("w", to_tensor(weights)), b = graph.add_constant("b", to_tensor(bias));
          const ValueId y = graph.add_node("product", MatMulAttrs{false, transposed}, {in, w, b});
          graph.mark_output(y);
          CompileOptions options;
          options.gradients = {{y}, {in}};
          const ProgramRun run = ProgramRunner(cpu(), graph, options).run({{in, first(x, pictures, K)}}, {{y, first(seed, pictures, N)}});
          if (pictures == 1) alone = run;
          const auto same = [&](const Doubles& got, const Doubles& want) {
            return std::equal(want.data.begin(), want.data.end(), got.data.begin());
          };
          const std::string what = std::to_string(pictures) + " x " + std::to_string(tokens) + " rows, " + std::to_string(K) + " to " +
                                   std::to_string(N) + (transposed ? ", transposed" : "");
          EXPECT_TRUE(same(run.values.at(y), alone.values.at(y))) << what;
          EXPECT_TRUE(same(run.gradients.at(in), alone.gradients.at(in))) << what;
          if (tokens) continue;
          // And whatever its place: the last row alone.
          const auto last = [&](const Doubles& all, int64_t width) {
            Doubles row({1, width});
            std::copy_n(all.data.begin() + (pictures - 1) * width, width, row.data.begin());
            return row;
          };
          Graph single;
          const ValueId in1 = single.add_input("x", DType::kF32, {1, K});
          const ValueId y1 =
              single.add_node("product", MatMulAttrs{false, transposed},
                              {in1, single.add_constant("w", to_tensor(weights)), single.add_constant("b", to_tensor(bias))});
          single.mark_output(y1);
          CompileOptions single_options;
          single_options.gradients = {{y1}, {in1}};
          const ProgramRun own = ProgramRunner(cpu(), single, single_options).run({{in1, last(x, K)}}, {{y1, last(seed, N)}});
          EXPECT_EQ(own.values.at(y1).data, last(run.values.at(y), N).data) << what;
          EXPECT_EQ(own.gradients.at(in1).data, last(run.gradients.at(in), K).data) << what;
        }
      }
    }
  }
}

}  // namespace
}  // namespace actmatch::test
