// Tests of kernels that store float or bfloat16: conversion, addresses of known alignment, tolerances.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/bfloat16.h"
#include "tests/kernels/cuda/device.h"

namespace actmatch::kernels::cuda {

template <class T>
std::vector<T> stored(const std::vector<float>& v) {
  std::vector<T> result(v.size());
  std::transform(v.begin(), v.end(), result.begin(), [](float x) { return from_float<T>(x); });
  return result;
}
inline std::vector<double> wide(const std::vector<bfloat16>& v) {
  std::vector<double> result(v.size());
  std::transform(v.begin(), v.end(), result.begin(), [](bfloat16 x) { return static_cast<double>(to_float(x)); });
  return result;
}

// Like Device, but `offset` values behind an address that is a multiple of 16.
template <class T>
class DeviceAt {
 public:
  DeviceAt(size_t count, size_t offset) : count_(count), offset_(offset) {
    check(cudaMalloc(&memory_, bytes()));
    check(cudaMemset(memory_, 0xff, bytes()));
  }
  DeviceAt(const std::vector<T>& values, size_t offset) : DeviceAt(values.size(), offset) {
    check(cudaMemcpy(data(), values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  DeviceAt(const DeviceAt&) = delete;
  DeviceAt& operator=(const DeviceAt&) = delete;
  ~DeviceAt() { cudaFree(memory_); }
  T* data() { return static_cast<T*>(memory_) + offset_; }
  std::vector<T> get() {
    std::vector<T> values(count_);
    check(cudaDeviceSynchronize());
    check(cudaMemcpy(values.data(), data(), count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  size_t bytes() const { return std::max<size_t>(1, (count_ + offset_) * sizeof(T)); }
  void* memory_ = nullptr;
  size_t count_, offset_;
};

// `epsilons` and `least` as for expect_near. A result in bfloat16 is rounded to 8 bits once more: by at most 2^-8 of the number.
template <class T>
void expect_stored_near(const std::vector<T>& got, const std::vector<double>& want, double epsilons, const std::string& what,
                        double least = 0) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = least;
  for (double w : want) largest = std::max(largest, std::abs(w));
  const auto values = wide(got);
  for (size_t i = 0; i < got.size(); ++i) {
    const double rounding = sizeof(T) == 2 ? 0x1p-8 * std::abs(want[i]) : 0;
    ASSERT_NEAR(values[i], want[i], epsilons * 0x1p-24 * largest + rounding) << what << ", entry " << i;
  }
}

}  // namespace actmatch::kernels::cuda
