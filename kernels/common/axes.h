// The axes of a walk over several tensors at once, on the host: sorted, merged where they are one run, split where an index would not fit
// into 32 bits. Plain C++; the device side is walk.cuh.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <limits>

#include "kernels/cuda_ops.h"
#include "kernels/host_device.h"

namespace actmatch::kernels::cuda {

// n / divisor for n < 2^31 by a multiplication (Granlund and Montgomery 1994): with 2^shift the next power of two,
// multiplier = floor(2^32 (2^shift - divisor) / divisor) + 1.
struct FastDivisor {
  uint32_t divisor = 1, multiplier = 1, shift = 0;

  FastDivisor() = default;
  explicit FastDivisor(int64_t d) : divisor(static_cast<uint32_t>(d)), shift(static_cast<uint32_t>(std::bit_width(divisor - 1))) {
    multiplier = static_cast<uint32_t>((((uint64_t{1} << shift) - divisor) << 32) / divisor + 1);
  }
  ACTMATCH_HD uint32_t quotient(uint32_t n) const {
    return (static_cast<uint32_t>((static_cast<uint64_t>(n) * multiplier) >> 32) + n) >> shift;
  }
};

inline constexpr int64_t kIndexLimit = std::numeric_limits<int32_t>::max();

// N tensors; the first is the one that is written. Outermost axis first.
template <int N>
struct Axes {
  int rank = 0;
  int64_t extent[kMaxRank] = {};
  int64_t stride[N][kMaxRank] = {};

  void push(int64_t e, const int64_t (&s)[N]) {
    extent[rank] = e;
    for (int t = 0; t < N; ++t) stride[t][rank] = s[t];
    ++rank;
  }
  void push_from(const Axes& old, int a) {
    int64_t s[N];
    for (int t = 0; t < N; ++t) s[t] = old.stride[t][a];
    push(old.extent[a], s);
  }
  int64_t count() const {
    int64_t n = 1;
    for (int a = 0; a < rank; ++a) n *= extent[a];
    return n;
  }
  // The distance between the first and the last element of the tensor that is spread most.
  int64_t span() const {
    int64_t widest = 0;
    for (int t = 0; t < N; ++t) {
      int64_t span = 0;
      for (int a = 0; a < rank; ++a) span += std::abs(stride[t][a]) * (extent[a] - 1);
      widest = std::max(widest, span);
    }
    return widest;
  }
  // Large strides of tensor `key` outside; axes along which it does not move (broadcast) by the other tensors' strides.
  void sort(int key) {
    const auto before = [&](int a, int b) {
      for (int k = 0; k < N; ++k) {
        const int t = (key + k) % N;
        const int64_t left = std::abs(stride[t][a]), right = std::abs(stride[t][b]);
        if (left != right) return left > right;
      }
      return a < b;
    };
    // By insertion: there are few, and those already in order stay.
    int order[kMaxRank] = {};
    for (int n = 0; n < rank; ++n) {
      int place = n;
      for (; place > 0 && before(n, order[place - 1]); --place) order[place] = order[place - 1];
      order[place] = n;
    }
    const Axes old = *this;
    rank = 0;
    for (int a = 0; a < old.rank; ++a) push_from(old, order[a]);
  }
  // Neighbouring axes become one where every tensor goes on from one into the other.
  void merge() {
    const Axes old = *this;
    rank = 0;
    for (int a = 0; a < old.rank; ++a) {
      bool joins = rank > 0;
      for (int t = 0; t < N; ++t) joins = joins && stride[t][rank - 1] == old.stride[t][a] * old.extent[a];
      if (!joins) {
        push_from(old, a);
        continue;
      }
      extent[rank - 1] *= old.extent[a];
      for (int t = 0; t < N; ++t) stride[t][rank - 1] = old.stride[t][a];
    }
  }
};

// Axes of extent 1 are left out. False: ranks that do not match or are too large, or a negative extent.
template <int N>
bool read_axes(Axes<N>* axes, const Dims& extents, const Dims* const (&strides)[N]) {
  if (extents.rank > kMaxRank) return false;
  for (const Dims* s : strides)
    if (s->rank != extents.rank) return false;
  for (int a = 0; a < extents.rank; ++a) {
    if (extents.at[a] < 0) return false;
    if (extents.at[a] == 1) continue;
    int64_t s[N];
    for (int t = 0; t < N; ++t) s[t] = strides[t]->at[a];
    axes->push(extents.at[a], s);
  }
  return true;
}

// Calls run(part, offsets) for parts of the axes that stay below `limit`, in elements and in span, halving the longest way among the first
// `splittable` axes; offsets: where the part begins in each tensor. Cuts lie at multiples of 64, so that aligned stays aligned.
template <int N, class Run>
cudaError_t split_axes(const Axes<N>& axes, int splittable, Run run, int64_t limit = kIndexLimit) {
  int64_t offset[N] = {};
  return split_axes_from(axes, splittable, run, limit, offset);
}
template <int N, class Run>
cudaError_t split_axes_from(const Axes<N>& axes, int splittable, Run run, int64_t limit, const int64_t (&offset)[N]) {
  if (axes.count() == 0) return cudaSuccess;
  if (axes.count() <= limit && axes.span() < limit) return run(axes, offset);
  int axis = -1;
  int64_t longest = 0;
  for (int a = 0; a < splittable && a < axes.rank; ++a) {
    if (axes.extent[a] < 2) continue;
    int64_t way = axes.extent[a] - 1;
    for (int t = 0; t < N; ++t) way = std::max(way, std::abs(axes.stride[t][a]) * (axes.extent[a] - 1));
    if (way > longest) {
      longest = way;
      axis = a;
    }
  }
  if (axis < 0) return cudaErrorInvalidValue;
  int64_t half = axes.extent[axis] / 2;
  if (axes.extent[axis] > 128) half = half / 64 * 64;
  Axes<N> first = axes, second = axes;
  first.extent[axis] = half;
  second.extent[axis] -= half;
  int64_t behind[N];
  for (int t = 0; t < N; ++t) behind[t] = offset[t] + half * axes.stride[t][axis];
  const cudaError_t error = split_axes_from(first, splittable, run, limit, offset);
  return error != cudaSuccess ? error : split_axes_from(second, splittable, run, limit, behind);
}

}  // namespace actmatch::kernels::cuda
