// Device memory for kernel tests. The same tests run in the emulator (tests/simt), in each order of the threads, and on a GPU, once.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda.h"
#include "tests/kernels/cuda/random_sizes.h"

namespace actmatch::kernels::cuda {

inline void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

// Device addresses lie up to this many values less one behind an aligned one; 1: aligned.
inline constexpr size_t kMisalignments = 8;
inline size_t misalignments = kMisalignments;
inline std::minstd_rand next_misalignment;

// `count` values, filled with 0xff (as a float: NaN) unless they are given. They start up to seven values behind an aligned address, now
// here, now there, and end exactly where the allocation ends.
template <class T>
class Device {
 public:
  explicit Device(size_t count) : count_(count), offset_(next_misalignment() % misalignments) {
    check(cudaMalloc(&memory_, (count_ + offset_) * sizeof(T) + (count_ == 0 ? 1 : 0)));
    check(cudaMemset(memory_, 0xff, (count_ + offset_) * sizeof(T)));
  }
  explicit Device(const std::vector<T>& values) : Device(values.size()) {
    check(cudaMemcpy(data(), values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device() { cudaFree(memory_); }
  T* data() { return static_cast<T*>(memory_) + offset_; }
  std::vector<T> get() {
    std::vector<T> values(count_);
    check(cudaDeviceSynchronize());
    check(cudaMemcpy(values.data(), data(), count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  void* memory_ = nullptr;
  size_t count_, offset_;
};

// Scratch of exactly the size asked for.
class Scratch {
 public:
  explicit Scratch(size_t bytes) { check(cudaMalloc(&memory_, bytes)); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { cudaFree(memory_); }
  void* data() { return memory_; }

 private:
  void* memory_ = nullptr;
};

class CudaTest : public ::testing::Test {
 protected:
  CudaTest() { next_misalignment.seed(static_cast<unsigned>(test_seed())); }
#if defined(ACTMATCH_SIMT)
  template <class Body>
  void in_each_order(Body body) {
    for (const auto order : {simt::Order::kForward, simt::Order::kReverse, simt::Order::kRandom}) {
      SCOPED_TRACE("thread order " + std::to_string(static_cast<int>(order)));
      simt::order = order;
      engine_.seed(kDataSeed + static_cast<unsigned>(order));  // the cases that are always there have the same data in every run
      body();
    }
    simt::order = simt::Order::kForward;
  }
#else
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) GTEST_SKIP() << "no CUDA device";
  }
  template <class Body>
  void in_each_order(Body body) {
    body();
  }
#endif

  // The given cases and some drawn ones; these are the same whenever a test asks.
  template <class Case, size_t n, class Draw>
  static std::vector<Case> and_drawn(const Case (&given)[n], Draw draw, int count = 2) {
    std::vector<Case> cases(given, given + n);
    RandomSizes sizes(test_seed());
    for (int i = test_draws(count); i > 0; --i) cases.push_back(draw(sizes));
    return cases;
  }
  // Numbers exact in float, from the generator's own bits.
  std::vector<float> random(int64_t count, double low = -2, double high = 2) {
    std::vector<float> v(static_cast<size_t>(count));
    for (float& x : v) x = static_cast<float>(low + (high - low) * static_cast<double>(engine_() >> 11) * 0x1p-53);
    return v;
  }
  int64_t integer(int64_t low, int64_t high) { return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1)); }
  std::vector<int32_t> labels(int64_t count, int64_t K) {
    std::vector<int32_t> v(static_cast<size_t>(count));
    for (int32_t& y : v) y = static_cast<int32_t>(integer(0, K - 1));
    return v;
  }

 private:
  static constexpr uint64_t kDataSeed = 20240917;
  const ::testing::ScopedTrace seed_{__FILE__, __LINE__, "ACTMATCH_TEST_SEED=" + std::to_string(test_seed())};
  std::mt19937_64 engine_{kDataSeed};
};

inline std::vector<double> wide(const std::vector<float>& v) { return {v.begin(), v.end()}; }

// Within `epsilons` times 2^-24 of the largest expected size: so many roundings of numbers of that size. `least` is how large what was
// added up is, for of few results every one may have cancelled.
inline void expect_near(const std::vector<float>& got, const std::vector<double>& want, double epsilons, const std::string& what,
                        double least = 0) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = least;
  for (double w : want) largest = std::max(largest, std::abs(w));
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(static_cast<double>(got[i]), want[i], epsilons * 0x1p-24 * largest) << what << ", entry " << i;
}

}  // namespace actmatch::kernels::cuda
