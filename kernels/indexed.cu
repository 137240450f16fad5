// Movement by a table of indices. The gradient goes by the inverse table, so each number is written by one thread and the order of its sum
// is that of the table. A thread has up to 16 bytes of a row.
#include "kernels/common/walk.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

// Rows of `inner` numbers, `packs` packs each.
struct Rows {
  int64_t first, count, inner;
  FastDivisor packs;
};

template <class T, int V>
__global__ void __launch_bounds__(kThreads) gather_kernel(T* y, const T* x, const int32_t* index, Rows rows, T fill) {
  const auto i = static_cast<uint32_t>(flat_index());
  if (i >= rows.count * rows.packs.divisor) return;
  const uint32_t row = rows.packs.quotient(i);
  const int64_t k = static_cast<int64_t>(i - row * rows.packs.divisor) * V;
  const int64_t from = index[rows.first + row];
  Pack<T, V> v;
  if (from >= 0) {
    v = *reinterpret_cast<const Pack<T, V>*>(x + from * rows.inner + k);
  } else {
    for (int e = 0; e < V; ++e) v.v[e] = fill;
  }
  *reinterpret_cast<Pack<T, V>*>(y + (rows.first + row) * rows.inner + k) = v;
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    gather_backward_kernel(T* dx, const T* dy, const int32_t* offsets, const int32_t* list, Rows rows, bool accumulate) {
  const auto i = static_cast<uint32_t>(flat_index());
  if (i >= rows.count * rows.packs.divisor) return;
  const uint32_t row = rows.packs.quotient(i);
  const int64_t k = static_cast<int64_t>(i - row * rows.packs.divisor) * V;
  auto* to = reinterpret_cast<Pack<T, V>*>(dx + (rows.first + row) * rows.inner + k);
  float sum[V] = {};
  const int32_t end = offsets[rows.first + row + 1];
  for (int32_t l = offsets[rows.first + row]; l < end; ++l) {
    const auto d = *reinterpret_cast<const Pack<T, V>*>(dy + list[l] * rows.inner + k);
    for (int e = 0; e < V; ++e) sum[e] += to_float(d.v[e]);
  }
  Pack<T, V> out;
  if (accumulate) out = *to;
  for (int e = 0; e < V; ++e) out.v[e] = from_float<T>(accumulate ? to_float(out.v[e]) + sum[e] : sum[e]);
  *to = out;
}

// run(rows) for as many rows at a time as 32 bits can count packs of.
template <class Run>
cudaError_t in_parts(int64_t count, int64_t inner, int64_t V, Run run) {
  if (count <= 0 || inner <= 0) return cudaSuccess;
  const int64_t packs = inner / V, most = kIndexLimit / packs;
  if (most == 0) return cudaErrorInvalidValue;
  for (int64_t first = 0; first < count; first += most) {
    const Rows rows{first, std::min(most, count - first), inner, FastDivisor(packs)};
    const cudaError_t error = run(rows, grid_of(ceil_div(rows.count * packs, kThreads)));
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

template <class T>
constexpr int kWide = 16 / sizeof(T);
template <class T>
bool wide(const T* a, const T* b, int64_t inner) {
  return inner % kWide<T> == 0 && reinterpret_cast<uintptr_t>(a) % 16 == 0 && reinterpret_cast<uintptr_t>(b) % 16 == 0;
}

}  // namespace

template <class T>
cudaError_t gather_indexed(cudaStream_t stream, T* y, const T* x, const int32_t* index, int64_t count, int64_t inner, float fill) {
  T value;
  if constexpr (kIsReal<T>) {
    value = from_float<T>(fill);
  } else if constexpr (std::is_same_v<T, uint8_t>) {
    value = fill != 0.0f ? 1 : 0;
  } else {
    value = static_cast<T>(fill);
  }
  const bool packs = wide(y, x, inner);
  return in_parts(count, inner, packs ? kWide<T> : 1, [&](const Rows& rows, dim3 grid) {
    return launch(stream, packs ? gather_kernel<T, kWide<T>> : gather_kernel<T, 1>, grid, kThreads, y, x, index, rows, value);
  });
}

template <class T>
cudaError_t gather_indexed_backward(cudaStream_t stream, T* dx, const T* dy, const int32_t* offsets, const int32_t* list, int64_t count,
                                    int64_t inner, bool accumulate) {
  const bool packs = wide(dx, dy, inner);
  return in_parts(count, inner, packs ? kWide<T> : 1, [&](const Rows& rows, dim3 grid) {
    return launch(stream, packs ? gather_backward_kernel<T, kWide<T>> : gather_backward_kernel<T, 1>, grid, kThreads, dx, dy, offsets, list,
                  rows, accumulate);
  });
}

#define ACTMATCH_GATHER(T) template cudaError_t gather_indexed<T>(cudaStream_t, T*, const T*, const int32_t*, int64_t, int64_t, float);
ACTMATCH_GATHER(float)
ACTMATCH_GATHER(bfloat16)
ACTMATCH_GATHER(uint8_t)
ACTMATCH_GATHER(int64_t)
#undef ACTMATCH_GATHER
#define ACTMATCH_GATHER_BACKWARD(T) \
  template cudaError_t gather_indexed_backward<T>(cudaStream_t, T*, const T*, const int32_t*, const int32_t*, int64_t, int64_t, bool);
ACTMATCH_GATHER_BACKWARD(float)
ACTMATCH_GATHER_BACKWARD(bfloat16)
#undef ACTMATCH_GATHER_BACKWARD

}  // namespace actmatch::kernels::cuda
