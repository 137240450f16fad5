#include <algorithm>

#include "tests/ops/op_check.h"

namespace actmatch::test {
namespace {

// A picture's scores and gradients are the same bits whatever the batch it comes in: as a row of a matrix, and as a matrix of a stack.
TEST(CpuOnly, RowsDoNotDependOnTheOthers) {
  for (const auto& [N, K] : {std::pair<int64_t, int64_t>{4, 8}, {8, 4}, {10, 63}, {100, 512}, {2100, 9}}) {
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
          const ProgramRun run =
              ProgramRunner(tested_backend(), graph, options).run({{in, first(x, pictures, K)}}, {{y, first(seed, pictures, N)}});
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
          const ProgramRun own = ProgramRunner(tested_backend(), single, single_options).run({{in1, last(x, K)}}, {{y1, last(seed, N)}});
          EXPECT_EQ(own.values.at(y1).data, last(run.values.at(y), N).data) << what;
          EXPECT_EQ(own.gradients.at(in1).data, last(run.gradients.at(in), K).data) << what;
        }
      }
    }
  }
}

// Tokens that an exporter laid one picture behind the other: a picture's block is the same bits in any batch, and goes through in one.
TEST(CpuOnly, FlattenedTokensDoNotDependOnTheOtherPictures) {
  RandomArrays random(9);
  const int64_t tokens = 7, K = 33, N = 20;
  const Doubles weights = random.uniform({K, N}), bias = random.uniform({N});
  const Doubles x = random.uniform({5, tokens, K}), seed = random.uniform({5 * tokens, N});
  ProgramRun alone;
  for (const int64_t pictures : {1, 2, 5}) {
    Doubles images({pictures, tokens, K}), dy({pictures * tokens, N});
    std::copy_n(x.data.begin(), images.data.size(), images.data.begin());
    std::copy_n(seed.data.begin(), dy.data.size(), dy.data.begin());
    Graph graph;
    const ValueId in = graph.add_input("x", DType::kF32, images.shape);
    const ValueId flat = graph.add_node("flat", ReshapeAttrs{{pictures * tokens, K}}, {in});
    const ValueId y = graph.add_node("product", MatMulAttrs{},
                                     {flat, graph.add_constant("w", to_tensor(weights)), graph.add_constant("b", to_tensor(bias))});
    graph.mark_output(y);
    CompileOptions options;
    options.gradients = {{y}, {in}};
    ProgramRunner runner(tested_backend(), graph, options);
    const ProgramRun run = runner.run({{in, images}}, {{y, dy}});
    if (pictures == 1) alone = run;
    EXPECT_TRUE(std::equal(alone.values.at(y).data.begin(), alone.values.at(y).data.end(), run.values.at(y).data.begin())) << pictures;
    EXPECT_TRUE(std::equal(alone.gradients.at(in).data.begin(), alone.gradients.at(in).data.end(), run.gradients.at(in).data.begin()))
        << pictures;
    runner.program().enable_profiling(true);
    runner.program().forward();
    bool found = false;
    for (const auto& node : runner.program().profile()) found = found || node.implementation == "sgemm, 7 rows at a time";
    EXPECT_TRUE(found) << "in pieces";
  }
}

}  // namespace
}  // namespace actmatch::test
