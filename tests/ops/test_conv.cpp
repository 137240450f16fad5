#include "tests/ops/graph_maker.h"
#include "tests/ops/op_check.h"

namespace actmatch::test {
namespace {

// Small sums of products in double; on the CPU, fp32 sums of up to 9 * 48 products. 1e-11 leaves an order of magnitude above what correct
// fp32 gives (1e-13 to 1e-12) and would notice any format with fewer bits.
const Tolerance kSums = squared(1e-11);

OpCase conv_case(const std::string& name, ConvAttrs a, Shape x, Shape w, bool bias, Leaf leaf, uint64_t seed = 1) {
  RandomArrays random(seed);
  OpCase c{name, a, {{random.uniform(x)}, {random.uniform(w), leaf}}};
  if (bias) c.operands.push_back({random.uniform({w[0]}), leaf});
  return c;
}

struct Geometry {
  const char* name;
  ConvAttrs attrs;
  Shape x, w;
};
const std::vector<Geometry> kGeometries = {
    {"plain 3x3", {}, {2, 3, 7, 5}, {4, 3, 3, 3}},
    {"1x1", {}, {3, 5, 4, 4}, {7, 5, 1, 1}},
    {"one pixel", {}, {1, 2, 1, 1}, {3, 2, 1, 1}},
    {"kernel as large as the input", {}, {2, 3, 4, 5}, {2, 3, 4, 5}},
    {"stride with rows left over", {{2, 3}, {0, 0, 0, 0}}, {1, 3, 8, 9}, {4, 3, 3, 2}},
    {"asymmetric pads", {{1, 1}, {2, 0, 1, 3}}, {2, 2, 5, 6}, {3, 2, 3, 3}},
    {"stride, pads, rows left over", {{2, 2}, {1, 1, 1, 1}}, {2, 3, 8, 7}, {5, 3, 3, 3}},
    {"dilation", {{1, 1}, {2, 2, 2, 2}, {2, 3}}, {1, 3, 9, 10}, {4, 3, 3, 3}},
    {"dilation, stride, asymmetric pads", {{2, 1}, {3, 0, 1, 2}, {2, 2}}, {1, 2, 8, 9}, {3, 2, 3, 3}},
    {"groups", {{1, 1}, {1, 1, 1, 1}, {1, 1}, 2}, {2, 6, 5, 5}, {4, 3, 3, 3}},
    {"groups of odd sizes", {{2, 1}, {0, 1, 1, 0}, {1, 1}, 3}, {1, 9, 6, 5}, {15, 3, 2, 3}},
    {"depthwise", {{1, 1}, {1, 1, 1, 1}, {1, 1}, 5}, {2, 5, 6, 7}, {5, 1, 3, 3}},
    {"depthwise with two filters a channel, stride 2", {{2, 2}, {1, 1, 1, 1}, {1, 1}, 3}, {3, 3, 7, 6}, {6, 1, 3, 3}},
    {"depthwise with two filters a channel, many channels", {{2, 1}, {2, 1, 0, 1}, {1, 1}, 17}, {2, 17, 6, 5}, {34, 1, 3, 3}},
    {"depthwise with three filters a channel, dilation", {{1, 1}, {2, 2, 2, 2}, {2, 2}, 16}, {1, 16, 5, 6}, {48, 1, 3, 2}},
    {"pads beyond the kernel", {{1, 1}, {2, 1, 0, 2}}, {1, 2, 3, 3}, {2, 2, 1, 1}},
    {"stem: few channels, stride 2", {{2, 2}, {3, 3, 3, 3}}, {2, 3, 15, 22}, {16, 3, 7, 7}},
    {"stem without pads, rows left over", {{2, 2}, {0, 0, 0, 0}}, {2, 3, 12, 15}, {32, 3, 3, 3}},
    {"stem with uneven pads", {{2, 2}, {0, 1, 1, 0}}, {1, 3, 11, 10}, {16, 3, 3, 3}},
    {"stem, strides 4 and 2", {{4, 2}, {2, 2, 2, 2}}, {1, 1, 23, 18}, {16, 1, 11, 5}},
    {"stem with a stride beyond its kernel", {{3, 3}, {0, 0, 0, 0}}, {1, 1, 10, 11}, {16, 1, 2, 2}},
    {"flat kernel", {{1, 2}, {0, 2, 0, 2}}, {1, 2, 4, 11}, {3, 2, 1, 5}},
};

TEST(Conv, GradientsOfTheReferenceMatchDifferences) {
  for (const Geometry& g : kGeometries)
    for (bool bias : {false, true}) check_gradient(conv_case(g.name, g.attrs, g.x, g.w, bias, Leaf::kInput));
}

// Weights, and a bias, for each part of the batch.
TEST(Conv, WeightsForEachPartOfTheBatch) {
  const Geometry geometries[] = {
      {"a part an image", {{2, 2}, {1, 1, 1, 1}}, {3, 3, 7, 5}, {3, 4, 3, 3, 3}},
      {"two images a part", {{1, 1}, {2, 0, 1, 3}}, {4, 2, 5, 6}, {2, 3, 2, 3, 3}},
      {"groups and dilation", {{1, 2}, {2, 2, 2, 2}, {2, 2}, 2}, {4, 6, 9, 8}, {2, 4, 3, 3, 3}},
      {"one part", {}, {2, 3, 4, 4}, {1, 5, 3, 2, 2}},
  };
  for (const Geometry& g : geometries) {
    for (const Leaf leaf : {Leaf::kInput, Leaf::kParameter, Leaf::kConstant}) {
      OpCase c = conv_case(g.name, g.attrs, g.x, g.w, false, leaf);
      if (leaf == Leaf::kInput) check_gradient(c);
      check_backend(c, kSums, kSums);
      RandomArrays random(2);
      c.operands.push_back({random.uniform({g.w[0], g.w[1]}), leaf});
      if (leaf == Leaf::kInput) check_gradient(c);
      check_backend(c, kSums, kSums);
    }
  }
}

TEST(Conv, FrozenWeights) {
  for (const Geometry& g : kGeometries)
    for (bool bias : {false, true}) check_backend(conv_case(g.name, g.attrs, g.x, g.w, bias, Leaf::kConstant), kSums, kSums);
}

TEST(Conv, TrainableWeights) {
  for (const Geometry& g : kGeometries) check_backend(conv_case(g.name, g.attrs, g.x, g.w, true, Leaf::kParameter), kSums, kSums);
}

TEST(Conv, WeightsThatAreComputed) {
  for (size_t i : {0, 5, 9}) {
    const Geometry& g = kGeometries[i];
    check_backend(conv_case(g.name, g.attrs, g.x, g.w, true, Leaf::kInput), kSums, kSums);
  }
}

// Channel counts on both sides of the vector widths 8 and 16 choose different implementations and paddings.
TEST(Conv, ChannelCounts) {
  for (int64_t in : {1, 3, 8, 15, 16, 17, 32})
    for (int64_t out : {1, 8, 9, 16, 24, 33})
      for (Leaf leaf : {Leaf::kConstant, Leaf::kParameter}) {
        const OpCase c = conv_case(std::to_string(in) + " to " + std::to_string(out), {{2, 2}, {1, 1, 1, 1}}, {2, in, 9, 7},
                                   {out, in, 3, 3}, true, leaf, static_cast<uint64_t>(in * 100 + out));
        check_in(tested_backend(), c, {true, true, Surroundings::Activation::kRelu}, kSums, kSums);
      }
}

TEST(Conv, DepthwiseChannelCounts) {
  for (int64_t channels : {8, 12, 16, 20, 40})
    for (int64_t stride : {1, 2})
      for (int64_t kernel : {3, 5}) {
        const ConvAttrs a{{stride, stride}, {kernel / 2, kernel / 2, kernel / 2, kernel / 2}, {1, 1}, channels};
        for (Leaf leaf : {Leaf::kConstant, Leaf::kParameter}) {
          const OpCase c =
              conv_case(std::to_string(channels) + " depthwise", a, {2, channels, 10, 9}, {channels, 1, kernel, kernel}, true, leaf);
          check_in(tested_backend(), c, {true, true, Surroundings::Activation::kClip}, kSums, kSums);
        }
      }
}

TEST(Conv, AnEmptyBatchGivesAnEmptyResult) {
  const OpCase c = conv_case("empty batch", {}, {0, 3, 5, 5}, {4, 3, 3, 3}, true, Leaf::kParameter);
  check_gradient(c);
  check_backend(c, exact(), exact());
}

// An image's result must not depend on its neighbours in the batch: one image in three gives the same numbers as alone. Not bit for bit:
// another batch may choose another blocking of the sums.
TEST(Conv, RowsOfABatchEqualSingleImages) {
  RandomArrays random(5);
  const Doubles x = random.uniform({3, 6, 9, 9}), w = random.uniform({10, 6, 3, 3}), seed = random.uniform({3, 10, 9, 9});
  const auto slice = [](const Doubles& a, int64_t n) {
    Shape shape = a.shape;
    shape[0] = 1;
    Doubles row(shape);
    for (int64_t i = 0; i < row.count(); ++i) row[i] = a[n * row.count() + i];
    return row;
  };
  const auto run = [&](const Doubles& images, const Doubles& dy) {
    Graph graph;
    const ValueId in = graph.add_input("x", DType::kF32, images.shape);
    const ValueId y = graph.add_node("conv", ConvAttrs{{1, 1}, {1, 1, 1, 1}}, {in, graph.add_constant("w", to_tensor(w))});
    graph.mark_output(y);
    CompileOptions options;
    options.gradients = {{y}, {in}};
    ProgramRunner runner(tested_backend(), graph, options);
    const ProgramRun result = runner.run({{in, images}}, {{y, dy}});
    return std::pair(result.values.at(y), result.gradients.at(in));
  };
  const auto [y, dx] = run(x, seed);
  for (int64_t n = 0; n < 3; ++n) {
    const auto [y1, dx1] = run(slice(x, n), slice(seed, n));
    EXPECT_TRUE(matches(slice(y, n), y1, in_precision(kSums))) << n;
    EXPECT_TRUE(matches(slice(dx, n), dx1, in_precision(kSums))) << n;
  }
}

}  // namespace
}  // namespace actmatch::test
