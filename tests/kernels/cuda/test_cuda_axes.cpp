// The host side of strided walks: division by multiplication, merging and splitting of axes.
#include "kernels/common/axes.h"

#include <set>

#include "kernels/common/fold.cuh"
#include "tests/kernels/cuda/device.h"

namespace actmatch::kernels::cuda {
namespace {

TEST(FastDivisor, AgreesWithDivision) {
  std::mt19937_64 engine(5);
  std::vector<int64_t> divisors{
      1, 2, 3, 5, 7, 10, 641, 65535, 65536, 65537, (1 << 30) - 1, 1 << 30, (1 << 30) + 1, kIndexLimit - 1, kIndexLimit};
  for (int i = 0; i < 200; ++i) divisors.push_back(1 + static_cast<int64_t>(engine() >> (34 + engine() % 28)));
  for (const int64_t d : divisors) {
    const FastDivisor fast(d);
    std::vector<int64_t> numbers{
        0, 1, d - 1, d, d + 1, 2 * d - 1, 2 * d, kIndexLimit - 1, kIndexLimit, kIndexLimit / d * d, kIndexLimit / d * d - 1};
    for (int i = 0; i < 100; ++i) numbers.push_back(static_cast<int64_t>(engine() >> 33));
    for (const int64_t n : numbers) {
      if (n < 0 || n > kIndexLimit) continue;
      ASSERT_EQ(fast.quotient(static_cast<uint32_t>(n)), n / d) << n << " / " << d;
    }
  }
}

template <int N>
Axes<N> axes_of(const Dims& extents, const Dims* const (&strides)[N]) {
  Axes<N> axes;
  EXPECT_TRUE(read_axes(&axes, extents, strides));
  axes.sort(0);
  axes.merge();
  return axes;
}

TEST(Axes, ContiguousOnesMerge) {
  // Two channels-last tensors of a row-major walk are one run, whatever the order of the axes.
  const Dims extents{2, 5, 3, 4}, last{60, 1, 20, 5};
  const auto run = axes_of<2>(extents, {&last, &last});
  EXPECT_EQ(run.rank, 1);
  EXPECT_EQ(run.extent[0], 120);
  EXPECT_EQ(run.stride[0][0], 1);
  // A broadcast channel vector leaves two axes, positions and channels.
  const Dims channel{0, 1, 0, 0};
  const auto two = axes_of<2>(extents, {&last, &channel});
  EXPECT_EQ(two.rank, 2);
  EXPECT_EQ(two.extent[0], 24);
  EXPECT_EQ(two.extent[1], 5);
  EXPECT_EQ(two.stride[1][0], 0);
  const Dims ones{1, 1, 1}, any{7, 7, 7};
  EXPECT_EQ((axes_of<2>(ones, {&any, &any}).rank), 0);
}

TEST(Axes, WhatDoesNotFitIsRefused) {
  Axes<1> axes;
  const Dims nine{1, 1, 1, 1, 1, 1, 1, 1, 1}, two{2, 2}, one{1}, negative{2, -1};
  EXPECT_FALSE(read_axes<1>(&axes, nine, {&nine}));
  EXPECT_FALSE(read_axes<1>(&axes, two, {&one}));
  EXPECT_FALSE(read_axes<1>(&axes, negative, {&two}));
}

TEST(Axes, PartsCoverEverythingOnceAndStaySmall) {
  for (const int64_t limit : {1000, 150, 70, 40}) {
    Axes<2> axes;
    axes.push(3, {500, 200});
    axes.push(200, {2, 1});
    std::set<int64_t> written;
    int64_t elements = 0, parts = 0;
    EXPECT_EQ(split_axes(
                  axes, 2,
                  [&](const Axes<2>& part, const int64_t(&offset)[2]) {
                    ++parts;
                    EXPECT_LE(part.count(), limit);
                    EXPECT_LT(part.span(), limit);
                    for (int64_t i = 0; i < part.extent[0]; ++i)
                      for (int64_t j = 0; j < part.extent[1]; ++j) {
                        const int64_t y = offset[0] + i * part.stride[0][0] + j * part.stride[0][1];
                        const int64_t x = offset[1] + i * part.stride[1][0] + j * part.stride[1][1];
                        EXPECT_EQ(y / 500 * 200 + y % 500 / 2, x);
                        written.insert(y);
                        ++elements;
                      }
                    return cudaSuccess;
                  },
                  limit),
              cudaSuccess);
    EXPECT_EQ(elements, 600);
    EXPECT_EQ(written.size(), 600u);
    EXPECT_GT(parts, 1);
    // Only the first axis may be split: its parts are still too large.
    EXPECT_EQ(split_axes(
                  axes, 1, [](const Axes<2>&, const int64_t(&)[2]) { return cudaSuccess; }, limit),
              limit > 400 ? cudaSuccess : cudaErrorInvalidValue);
  }
}

TEST(Axes, CutsKeepTheAlignment) {
  Axes<1> axes;
  axes.push(1003, {1});
  split_axes(
      axes, 1,
      [](const Axes<1>&, const int64_t(&offset)[1]) {
        EXPECT_EQ(offset[0] % 64, 0);
        return cudaSuccess;
      },
      200);
}

TEST(Axes, SlicesOfASumFollowFromItsLength) {
  for (const int64_t length : {1, 2, 511, 512, 513, 8192, 8193, 100000, 50000000}) {
    for (const bool columns : {false, true}) {
      const FoldSlices cut = fold_slices(length, columns);
      EXPECT_LE(cut.slices, kMostSlices);
      EXPECT_GE(cut.slices * cut.slice, length);
      EXPECT_LT((cut.slices - 1) * cut.slice, length);
      if (cut.slices == 1) continue;
      EXPECT_LE(static_cast<size_t>(cut.slices) * 3 * sizeof(float), reduce_scratch_bytes(3, length));
    }
  }
  EXPECT_EQ(reduce_scratch_bytes(7, 512), 0u);
  EXPECT_EQ(reduce_scratch_bytes(0, 10000), 0u);
}

}  // namespace
}  // namespace actmatch::kernels::cuda
