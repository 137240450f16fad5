// The emulator finds the faults it is there for, and leaves right kernels alone.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "planted.h"

namespace simt {
namespace {

constexpr Order kOrders[] = {Order::kForward, Order::kReverse, Order::kRandom};

std::vector<float> sums_with(bool barrier) {
  std::vector<float> x(3 * 128), sums(3);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  planted::block_sum(sums.data(), x.data(), 3, barrier);
  return sums;
}

// In reverse order this sum comes out right by luck, each thread meeting finished halves: one order is not enough.
TEST(Simt, MissingBarrierShows) {
  const std::vector<float> right{8128, 24512, 40896};
  for (const Order o : kOrders) {
    order = o;
    EXPECT_EQ(sums_with(true), right);
    if (o != Order::kReverse) {
      EXPECT_NE(sums_with(false), right) << static_cast<int>(o);
    }
  }
  order = Order::kForward;
}

TEST(Simt, EarlyOverwriteShowsInRandomOrder) {
  const std::vector<float> right(128, 120);
  std::vector<float> y(128);
  for (const Order o : kOrders) {
    order = o;
    planted::reuse(y.data(), true);
    EXPECT_EQ(y, right);
  }
  int wrong = 0;
  for (int run = 0; run < 20; ++run) {
    planted::reuse(y.data(), false);
    wrong += y != right;
  }
  EXPECT_GT(wrong, 10);
  order = Order::kForward;
}

template <class Run>
std::string error_of(Run run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing";
}

TEST(Simt, NamesWhatIsWrong) {
  for (const Order o : kOrders) {
    order = o;
    EXPECT_NE(error_of(planted::divergent_barrier).find("different barriers"), std::string::npos);
    EXPECT_NE(error_of(planted::barrier_not_reached).find("deadlock"), std::string::npos);
    EXPECT_NE(error_of(planted::missing_lane).find("deadlock"), std::string::npos);
    EXPECT_NE(error_of(planted::ended_lane).find("has ended"), std::string::npos);
    EXPECT_NE(error_of(planted::caller_left_out).find("leaves out"), std::string::npos);
    EXPECT_NE(error_of(planted::divergent_barrier).find("planted.cu:"), std::string::npos);
    EXPECT_EQ(sums_with(true)[0], 8128);  // goes on after an error
  }
  order = Order::kForward;
}

// Small whole numbers: every product and sum is exact.
TEST(Simt, TensorCoreProduct) {
  const auto bits = [](float v) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(v) >> 16); };
  std::vector<float> left(16 * 16), right(16 * 8), want(16 * 8), got(16 * 8);
  for (size_t i = 0; i < left.size(); ++i) left[i] = static_cast<float>(i * 7 % 31) - 15;
  for (size_t i = 0; i < right.size(); ++i) right[i] = static_cast<float>(i * 11 % 29) - 14;  // [k][column]
  for (size_t row = 0; row < 16; ++row)
    for (size_t column = 0; column < 8; ++column)
      for (size_t k = 0; k < 16; ++k) want[row * 8 + column] += left[row * 16 + k] * right[k * 8 + column];
  std::vector<uint16_t> a(left.size()), rows(right.size()), columns(right.size());
  for (size_t i = 0; i < a.size(); ++i) a[i] = bits(left[i]);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = columns[i % 8 * 16 + i / 8] = bits(right[i]);
  for (const Order o : kOrders) {
    order = o;
    planted::matrix_product(got.data(), a.data(), rows.data(), true, 0);
    EXPECT_EQ(got, want);
    planted::matrix_product(got.data(), a.data(), columns.data(), false, 0);
    EXPECT_EQ(got, want);
    EXPECT_NE(error_of([&] { planted::matrix_product(got.data(), a.data(), rows.data(), true, 1); }).find("multiple of 16"),
              std::string::npos);
  }
  order = Order::kForward;
}

TEST(Simt, MemoryThatNobodyWroteIsNan) {
  std::vector<float> y(64);
  planted::unwritten_shared(y.data());
  for (float v : y) EXPECT_TRUE(std::isnan(v));
  void* p = nullptr;
  ASSERT_EQ(cudaMalloc(&p, 8 * sizeof(float)), cudaSuccess);
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(std::isnan(static_cast<float*>(p)[i]));
  cudaFree(p);
}

TEST(Simt, RefusesWhatNoGpuLaunches) {
  cudaLaunchConfig_t config{};
  config.blockDim = dim3(1025);
  void (*kernel)() = [] {};
  EXPECT_EQ(cudaLaunchKernelEx(&config, kernel), cudaErrorInvalidConfiguration);
  config.blockDim = dim3(32);
  config.gridDim = dim3(1, 65536);
  EXPECT_EQ(cudaLaunchKernelEx(&config, kernel), cudaErrorInvalidConfiguration);
}

#if defined(__SANITIZE_ADDRESS__)
TEST(SimtDeathTest, AccessesOutOfBounds) {
  std::vector<float> x(128), y(128);
  planted::shifted_copy(y.data(), x.data(), 128, 0);
  EXPECT_DEATH(planted::shifted_copy(y.data(), x.data(), 128, 1), "heap-buffer-overflow");
  EXPECT_DEATH(planted::shifted_copy(y.data(), x.data(), 128, -1), "heap-buffer-overflow");
  planted::shared_write(y.data(), 0);
  EXPECT_DEATH(planted::shared_write(y.data(), 1), "global-buffer-overflow|index 64 out of bounds");
}
#endif

}  // namespace
}  // namespace simt
