// Walks all elements of a shape in row-major order while tracking offsets into N other tensors: the loop behind broadcasting,
// transposing and slicing on the host.
#pragma once

#include <array>
#include <vector>

#include "engine/core/tensor.h"

namespace actmatch {

// Strides that read a tensor of shape `from` as if it had been broadcast to `to`: 0 along repeated axes.
inline std::vector<int64_t> broadcast_strides(const Shape& from, const Shape& to) {
  const std::vector<int64_t> own = row_major_strides(from);
  std::vector<int64_t> strides(to.size(), 0);
  const size_t lead = to.size() - from.size();
  for (size_t i = 0; i < from.size(); ++i) strides[lead + i] = from[i] == 1 ? 0 : own[i];
  return strides;
}

// Calls f(i, offsets) for i = 0, 1, ... with offsets[j] = start[j] + sum of index * strides[j]. Strides may be negative or 0.
template <size_t N, class F>
void strided_walk(const Shape& shape, const std::array<std::vector<int64_t>, N>& strides, std::array<int64_t, N> offsets, F f) {
  const int64_t count = element_count(shape);
  if (count == 0) return;
  std::vector<int64_t> index(shape.size(), 0);
  for (int64_t i = 0;; ++i) {
    f(i, offsets);
    if (i + 1 == count) return;
    for (size_t axis = shape.size(); axis-- > 0;) {
      for (size_t j = 0; j < N; ++j) offsets[j] += strides[j][axis];
      if (++index[axis] < shape[axis]) break;
      for (size_t j = 0; j < N; ++j) offsets[j] -= strides[j][axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

}  // namespace actmatch
