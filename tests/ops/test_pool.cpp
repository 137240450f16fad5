#include "tests/ops/op_check.h"

namespace actmatch::test {
namespace {

// A window has at most 25 elements: 25 roundings of the sum, one of the division; gradients add at most 25 shares.
const Tolerance kWindow = epsilons(30);

struct Geometry {
  const char* name;
  PoolAttrs attrs;  // mode is set by the test
  Shape x;
};
const std::vector<Geometry> kGeometries = {
    {"2x2 stride 2", {PoolMode::kMax, {2, 2}, {2, 2}}, {2, 3, 6, 8}},
    {"2x2 stride 2, rows left over", {PoolMode::kMax, {2, 2}, {2, 2}}, {1, 3, 7, 5}},
    {"3x3 stride 2 pads 1", {PoolMode::kMax, {3, 3}, {2, 2}, {1, 1, 1, 1}}, {2, 5, 9, 8}},
    {"overlapping, asymmetric pads", {PoolMode::kMax, {3, 2}, {1, 1}, {2, 0, 1, 1}}, {1, 2, 5, 6}},
    {"the whole map", {PoolMode::kMax, {5, 4}, {1, 1}}, {2, 3, 5, 4}},
    {"1x1", {PoolMode::kMax, {1, 1}, {1, 1}}, {1, 2, 3, 3}},
    {"stride beyond the kernel", {PoolMode::kMax, {2, 2}, {3, 3}}, {1, 2, 8, 8}},
    {"one pixel", {PoolMode::kMax, {1, 1}, {1, 1}}, {3, 2, 1, 1}},
    {"5x5 stride 1 pads 2", {PoolMode::kMax, {5, 5}, {1, 1}, {2, 2, 2, 2}}, {1, 2, 6, 5}},
    {"16 channels", {PoolMode::kMax, {2, 3}, {1, 2}, {1, 1, 0, 1}}, {2, 16, 4, 5}},
    {"40 channels", {PoolMode::kMax, {3, 2}, {2, 1}, {0, 1, 1, 0}}, {1, 40, 5, 4}},
    {"64 channels", {PoolMode::kMax, {3, 3}, {2, 2}, {1, 1, 1, 1}}, {2, 64, 5, 4}},
};
const std::vector<Geometry> kCeil = {
    {"ceil, rows left over", {PoolMode::kMax, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}, true}, {1, 3, 8, 6}},
    {"ceil, nothing left over", {PoolMode::kMax, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}, true}, {1, 3, 7, 9}},
    {"ceil and pads", {PoolMode::kMax, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, true}, {2, 3, 6, 8}},
    {"ceil, a window that may not start in the end padding", {PoolMode::kMax, {2, 2}, {2, 2}, {1, 1, 1, 1}, {1, 1}, true}, {1, 2, 5, 5}},
};
const std::vector<Geometry> kDilated = {
    {"dilation", {PoolMode::kMax, {2, 3}, {1, 1}, {0, 0, 0, 0}, {2, 2}}, {1, 3, 7, 8}},
    {"dilation, stride, pads", {PoolMode::kMax, {3, 3}, {2, 2}, {1, 1, 1, 1}, {2, 2}}, {2, 2, 9, 9}},
};

std::vector<OpCase> cases(PoolMode mode, bool all) {
  std::vector<OpCase> list;
  RandomArrays random(8);
  for (const auto* geometries : {&kGeometries, &kCeil, &kDilated})
    for (const Geometry& g : *geometries) {
      if (!all && geometries == &kCeil && mode == PoolMode::kAverageIncludePad) continue;
      OpCase c{g.name, g.attrs, {{random.distinct(g.x)}}};
      std::get<PoolAttrs>(c.attrs).mode = mode;
      list.push_back(c);
    }
  return list;
}

TEST(Pool, GradientsOfTheReferenceMatchDifferences) {
  for (PoolMode mode : {PoolMode::kMax, PoolMode::kAverageIncludePad, PoolMode::kAverageExcludePad})
    for (OpCase& c : cases(mode, true)) {
      for (double& v : c.operands[0].value.data) v /= 16;  // differences of size 1
      check_gradient(c);
    }
}
TEST(Pool, Max) {
  for (const OpCase& c : cases(PoolMode::kMax, true)) check_backend(c, exact(), kWindow);
}
TEST(Pool, AverageWithoutPadding) {
  for (const OpCase& c : cases(PoolMode::kAverageExcludePad, true)) check_backend(c, kWindow, kWindow);
}
TEST(Pool, AverageWithPadding) {
  for (const OpCase& c : cases(PoolMode::kAverageIncludePad, false)) check_backend(c, kWindow, kWindow);
  const Geometry& g = kCeil[1];  // ceil_mode that changes nothing is fine
  OpCase c{g.name, g.attrs, {{RandomArrays(1).uniform(g.x)}}};
  std::get<PoolAttrs>(c.attrs).mode = PoolMode::kAverageIncludePad;
  check_backend(c, kWindow, kWindow);
}

// Channel counts on both sides of the vector widths.
TEST(Pool, ChannelCounts) {
  for (int64_t channels : {1, 7, 8, 12, 16, 17, 33})
    for (PoolMode mode : {PoolMode::kMax, PoolMode::kAverageIncludePad, PoolMode::kAverageExcludePad}) {
      const OpCase c{std::to_string(channels) + " channels",
                     PoolAttrs{mode, {3, 3}, {2, 2}, {1, 1, 1, 1}},
                     {{RandomArrays(static_cast<uint64_t>(channels)).distinct({2, channels, 7, 6})}}};
      check_in(tested_backend(), c, {true, true, Surroundings::Activation::kNone}, kWindow, kWindow);
    }
}

// Behind a ReLU whole windows are zero: the first element takes the gradient, as in PyTorch, whatever the layout.
TEST(Pool, OfEqualValuesTheFirstTakesTheGradient) {
  for (int64_t channels : {3, 8, 17})
    for (bool behind_conv : {false, true}) {
      RandomArrays random(9);
      Doubles x = random.uniform({2, channels, 6, 7});
      for (double& v : x.data) v = v < 0.3 ? 0 : 1;
      const OpCase c{"ties", PoolAttrs{PoolMode::kMax, {3, 3}, {2, 2}, {1, 1, 1, 1}}, {{x}}};
      check_in(tested_backend(), c, {behind_conv, false, Surroundings::Activation::kNone}, exact(), kWindow);
    }
}

}  // namespace
}  // namespace actmatch::test
