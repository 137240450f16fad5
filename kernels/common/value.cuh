// Conversions between the types that tensors are stored in: float, bfloat16, uint8_t (bool) and int64_t.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {

template <class T>
inline constexpr bool kIsReal = std::is_same_v<T, float> || std::is_same_v<T, bfloat16>;

template <class To, class From>
__device__ __forceinline__ To convert(From v) {
  if constexpr (std::is_same_v<To, From> && !std::is_same_v<To, uint8_t>) {
    return v;
  } else if constexpr (kIsReal<From>) {
    const float x = to_float(v);
    if constexpr (kIsReal<To>) return from_float<To>(x);
    if constexpr (std::is_same_v<To, uint8_t>) return x != 0.0f ? 1 : 0;
    if constexpr (std::is_same_v<To, int64_t>) return static_cast<int64_t>(x);
  } else {
    if constexpr (kIsReal<To>) return from_float<To>(static_cast<float>(v));
    if constexpr (std::is_same_v<To, uint8_t>) return v != 0 ? 1 : 0;
    if constexpr (std::is_same_v<To, int64_t>) return static_cast<int64_t>(v);
  }
}

// A NaN wins.
__device__ __forceinline__ float max_or_nan(float a, float b) { return a >= b || a != a ? a : b; }
__device__ __forceinline__ float min_or_nan(float a, float b) { return a <= b || a != a ? a : b; }

}  // namespace actmatch::kernels::cuda
