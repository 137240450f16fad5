// Sixteen bytes at a time: T is float or bfloat16.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/bfloat16.h"

namespace actmatch::kernels::cuda {

template <class T, int kCount = 16 / static_cast<int>(sizeof(T))>
struct alignas(kCount* static_cast<int>(sizeof(T))) Vector {
  static constexpr int kSize = kCount;
  T v[kCount];
};
template <class T>
inline constexpr int kVectorSize = 16 / static_cast<int>(sizeof(T));

template <class T, int kCount>
__device__ __forceinline__ Vector<T, kCount> load_vector(const T* p) {
  return *reinterpret_cast<const Vector<T, kCount>*>(p);
}
template <class T, int kCount>
__device__ __forceinline__ void store_vector(T* p, const Vector<T, kCount>& v) {
  *reinterpret_cast<Vector<T, kCount>*>(p) = v;
}

// Host side: whether all of these addresses are multiples of 16 (null is one).
template <class... Pointers>
bool aligned16(const Pointers*... p) {
  return ((reinterpret_cast<uintptr_t>(p) % 16 == 0) && ...);
}

}  // namespace actmatch::kernels::cuda
