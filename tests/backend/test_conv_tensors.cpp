// The tensors of a convolution: how large each is, and that a plan gets all of its own and no others.
#include "engine/backend/cuda/conv_tensors.h"

#include <gtest/gtest.h>

#include "engine/core/error.h"
#include "tests/support/expect_error.h"

namespace actmatch::cuda {
namespace {

using test::expect_error;

TEST(PlanKey, WithLessFusedToIt) {
  PlanKey key;
  key.bias = key.residual = true;
  key.activation = ConvActivation::kClippedRelu;
  key.ceiling = 6.0f;
  PlanKey less = key;
  less.activation = ConvActivation::kRelu;
  less.ceiling = 0.0f;
  EXPECT_EQ(less_fused(key), less) << "the ceiling is what is left";
  EXPECT_EQ(less_fused(less), std::nullopt);
  key.bias = false;
  key.pass = ConvPass::kBackwardData;
  less = key;
  less.residual = false;
  less.activation = ConvActivation::kNone;
  less.ceiling = 0.0f;
  EXPECT_EQ(less_fused(key), less) << "all of it";
  EXPECT_EQ(less_fused(less), std::nullopt);
  less.pass = ConvPass::kBackwardFilter;
  EXPECT_EQ(less_fused(less), std::nullopt);
}

TEST(ConvTensors, SizesByHand) {
  PlanKey key;
  key.shape = {2, 8, 7, 5, 16, 3, 3, {2, 2}, {1, 1, 1, 1}, {1, 1}, 4};  // y 2 x 4 x 3 x 16, w 16 x 3 x 3 x 2
  key.residual = true;
  key.bias = true;
  key.activation = ConvActivation::kRelu;
  ConvBytes sizes = bytes_of(key);
  EXPECT_EQ(sizes.x, 2u * 7 * 5 * 8 * 4);
  EXPECT_EQ(sizes.w, 16u * 3 * 3 * 2 * 4);
  EXPECT_EQ(sizes.y, 2u * 4 * 3 * 16 * 4);
  EXPECT_EQ(sizes.bias, 16u * 4);
  EXPECT_EQ(sizes.addend, sizes.y);
  EXPECT_EQ(sizes.saved, 0u);
  key.pass = ConvPass::kBackwardData;
  key.precision = ConvPrecision::kBf16;
  sizes = bytes_of(key);
  EXPECT_EQ(sizes.x, 2u * 7 * 5 * 8 * 2);
  EXPECT_EQ(sizes.addend, sizes.x);
  EXPECT_EQ(sizes.saved, sizes.x);
  EXPECT_EQ(sizes.bias, 0u);
  key.pass = ConvPass::kBackwardFilter;
  sizes = bytes_of(key);
  EXPECT_EQ(sizes.addend + sizes.saved + sizes.bias, 0u);
}

TEST(ConvTensors, AddressesFitTheKeyOrAreRefused) {
  alignas(kConvAlignment) char memory[6 * kConvAlignment];
  const auto at = [&](size_t i) { return memory + i * kConvAlignment; };
  PlanKey key;
  key.shape = {2, 64, 56, 56, 64, 3, 3, {1, 1}, {1, 1, 1, 1}};
  key.bias = true;
  key.activation = ConvActivation::kRelu;
  const ConvTensors good{at(0), at(1), at(2), at(3), nullptr, nullptr};
  require_tensors(key, good);
  ConvTensors bad = good;
  bad.bias = nullptr;
  expect_error(ErrorCode::kInternal, {"no address for bias", "forward fp32"}, [&] { require_tensors(key, bad); });
  bad = good;
  bad.addend = at(4);
  expect_error(ErrorCode::kInternal, {"a tensor too many, addend"}, [&] { require_tensors(key, bad); });
  bad = good;
  bad.y = at(2) + 8;
  expect_error(ErrorCode::kInternal, {"y is not aligned"}, [&] { require_tensors(key, bad); });
}

}  // namespace
}  // namespace actmatch::cuda
