#include "tests/ops/op_check.h"

namespace actmatch::test {
namespace {

// As for the convolution: sums of up to a few hundred products.
const Tolerance kSums = squared(1e-11);

struct Geometry {
  const char* name;
  ConvTransposeAttrs attrs;
  Shape x, w;
};
const std::vector<Geometry> kGeometries = {
    {"plain 3x3", {}, {2, 3, 4, 5}, {3, 4, 3, 3}},
    {"2x2 stride 2, as in a decoder", {{2, 2}}, {2, 6, 4, 3}, {6, 5, 2, 2}},
    {"4x4 stride 2 pads 1", {{2, 2}, {1, 1, 1, 1}}, {1, 8, 5, 4}, {8, 4, 4, 4}},
    {"asymmetric pads", {{2, 2}, {0, 1, 2, 1}}, {1, 2, 4, 5}, {2, 3, 3, 3}},
    {"output padding", {{2, 3}, {1, 1, 1, 1}, {1, 1}, {1, 2}}, {2, 3, 4, 3}, {3, 2, 3, 3}},
    {"stride beyond the kernel", {{3, 3}}, {1, 2, 3, 3}, {2, 2, 2, 1}},
    {"dilation", {{1, 2}, {1, 0, 0, 1}, {2, 2}}, {1, 3, 5, 4}, {3, 2, 3, 2}},
    {"groups", {{2, 1}, {1, 1, 1, 1}, {1, 1}, {0, 0}, 2}, {2, 4, 4, 4}, {4, 3, 3, 3}},
    {"depthwise", {{2, 2}, {0, 0, 0, 0}, {1, 1}, {0, 0}, 5}, {1, 5, 3, 4}, {5, 1, 2, 2}},
    {"one pixel", {}, {1, 2, 1, 1}, {2, 3, 1, 1}},
};

OpCase transposed_case(const Geometry& g, bool bias, Leaf leaf) {
  RandomArrays random(2);
  OpCase c{g.name, g.attrs, {{random.uniform(g.x)}, {random.uniform(g.w), leaf}}};
  if (bias) c.operands.push_back({random.uniform({g.w[1] * g.attrs.groups}), leaf});
  return c;
}

TEST(ConvTranspose, GradientsOfTheReferenceMatchDifferences) {
  for (const Geometry& g : kGeometries)
    for (bool bias : {false, true}) check_gradient(transposed_case(g, bias, Leaf::kInput));
}
// Weights, and a bias, for each part of the batch.
TEST(ConvTranspose, WeightsForEachPartOfTheBatch) {
  const Geometry geometries[] = {
      {"a part an image", {{2, 2}, {1, 1, 1, 1}}, {3, 8, 5, 4}, {3, 8, 4, 4, 4}},
      {"two images a part", {{2, 2}}, {4, 6, 4, 3}, {2, 6, 5, 2, 2}},
      {"groups", {{2, 1}, {1, 1, 1, 1}, {1, 1}, {1, 0}, 2}, {4, 4, 4, 4}, {2, 4, 3, 3, 3}},
  };
  for (const Geometry& g : geometries) {
    for (const Leaf leaf : {Leaf::kInput, Leaf::kParameter, Leaf::kConstant}) {
      OpCase c = transposed_case(g, false, leaf);
      RandomArrays random(4);
      c.operands.push_back({random.uniform({g.w[0], g.w[2] * g.attrs.groups}), leaf});
      if (leaf == Leaf::kInput) check_gradient(c);
      check_backend(c, kSums, kSums);
    }
  }
}

TEST(ConvTranspose, FrozenWeights) {
  for (const Geometry& g : kGeometries)
    for (bool bias : {false, true}) check_backend(transposed_case(g, bias, Leaf::kConstant), kSums, kSums);
}
TEST(ConvTranspose, TrainableWeights) {
  for (const Geometry& g : kGeometries) check_backend(transposed_case(g, true, Leaf::kParameter), kSums, kSums);
}
TEST(ConvTranspose, WeightsThatAreComputed) {
  for (size_t i : {0, 2, 7}) check_backend(transposed_case(kGeometries[i], true, Leaf::kInput), kSums, kSums);
}

TEST(ConvTranspose, ChannelCounts) {
  for (int64_t in : {3, 8, 16, 17, 32})
    for (int64_t out : {1, 8, 12, 16, 33}) {
      const Geometry g{"channels", {{2, 2}}, {2, in, 5, 4}, {in, out, 2, 2}};
      for (Leaf leaf : {Leaf::kConstant, Leaf::kParameter})
        check_in(tested_backend(), transposed_case(g, true, leaf), {true, true, Surroundings::Activation::kRelu}, kSums, kSums);
    }
}

// It is the transpose: <conv(x), u> = <x, conv_transpose(u)> with the same weight.
TEST(ConvTranspose, IsTheTransposeOfTheConvolution) {
  RandomArrays random(3);
  const Doubles x = random.uniform({2, 4, 9, 7}), w = random.uniform({6, 2, 3, 3}), u = random.uniform({2, 6, 5, 7});
  const ConvAttrs conv{{2, 1}, {1, 2, 1, 0}, {1, 1}, 2};
  const ConvTransposeAttrs transposed{{2, 1}, {1, 2, 1, 0}, {1, 1}, {0, 0}, 2};
  const Doubles y = oracle::forward<double>(conv, {&x, &w});
  ASSERT_EQ(y.shape, u.shape);
  const Doubles back = oracle::forward<double>(transposed, {&u, &w});
  ASSERT_EQ(back.shape, x.shape);
  double left = 0, right = 0;
  for (int64_t i = 0; i < y.count(); ++i) left += y[i] * u[i];
  for (int64_t i = 0; i < x.count(); ++i) right += x[i] * back[i];
  EXPECT_NEAR(left, right, 1e-12 * std::abs(left) + 1e-12);  // a few hundred double additions
}

}  // namespace
}  // namespace actmatch::test
