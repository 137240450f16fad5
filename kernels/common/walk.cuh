// Elementwise work on strided tensors: each thread has a pack, up to V neighbours along the innermost axis. Tensors whose neighbours lie
// together and aligned are read and written 16 bytes at a time, others one by one; a broadcast one is read once.
//
// A body is a struct with the tensors' pointers:
//   static constexpr int kTensors;
//   template <class F> void pointers(F f);            // f(number, pointer&) for each tensor, the written one first
//   template <int V, class Spot> __device__ void run(const Spot& spot) const;   // spot.load(number, pointer, values), spot.store(...)
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/common/axes.h"
#include "kernels/common/launch.cuh"
#include "kernels/common/value.cuh"

namespace actmatch::kernels::cuda {

template <class T, int V>
struct alignas(sizeof(T) * V < 16 ? sizeof(T) * V : 16) Pack {
  T v[V];
};
// V for tensors of these types: 16 bytes of the smallest, but at most 8.
template <class... T>
constexpr int pack_size() {
  int v = 8;
  ((v = 16 / sizeof(T) < static_cast<size_t>(v) ? static_cast<int>(16 / sizeof(T)) : v), ...);
  const bool small = ((sizeof(T) < 4) || ...);
  return small ? 8 : v;
}

// Innermost axis first.
template <int N>
struct Walk {
  uint32_t count = 0;  // packs
  int32_t rank = 1, inner = 1;
  FastDivisor extent[kMaxRank];
  int32_t stride[N][kMaxRank] = {};
  bool wide[N] = {};
};

template <int V, int N>
Walk<N> make_walk(const Axes<N>& axes) {
  Walk<N> walk;
  walk.rank = axes.rank > 0 ? axes.rank : 1;
  walk.inner = axes.rank > 0 ? static_cast<int32_t>(axes.extent[axes.rank - 1]) : 1;
  const int64_t packs = ceil_div(walk.inner, V);
  walk.extent[0] = FastDivisor(packs);
  int64_t count = packs;
  for (int a = 1; a < axes.rank; ++a) {
    const int64_t extent = axes.extent[axes.rank - 1 - a];
    walk.extent[a] = FastDivisor(extent);
    count *= extent;
  }
  for (int t = 0; t < N; ++t)
    for (int a = 0; a < axes.rank; ++a) walk.stride[t][a] = static_cast<int32_t>(axes.stride[t][axes.rank - 1 - a]);
  walk.count = static_cast<uint32_t>(count);
  return walk;
}

template <int V, int N, class T>
bool is_wide(const Walk<N>& walk, int t, const T* p) {
  constexpr size_t kBytes = alignof(Pack<T, V>);
  if (walk.stride[t][0] != 1 || reinterpret_cast<uintptr_t>(p) % kBytes != 0) return false;
  for (int a = 1; a < walk.rank; ++a)
    if (walk.stride[t][a] * static_cast<int64_t>(sizeof(T)) % static_cast<int64_t>(kBytes) != 0) return false;
  return true;
}

template <int V, int N>
struct Spot {
  const Walk<N>& walk;
  int32_t at[N];
  int n;  // of the V, how many there are

  __device__ __forceinline__ Spot(const Walk<N>& w, uint32_t i) : walk(w) {
    const uint32_t outer = w.rank > 1 ? w.extent[0].quotient(i) : 0;
    const auto begin = static_cast<int32_t>(i - outer * w.extent[0].divisor) * V;
    n = w.inner - begin < V ? w.inner - begin : V;
    for (int t = 0; t < N; ++t) at[t] = begin * w.stride[t][0];
    i = outer;
    for (int a = 1; a < kMaxRank; ++a) {
      if (a >= w.rank) break;
      const uint32_t next = w.extent[a].quotient(i);
      const auto index = static_cast<int32_t>(i - next * w.extent[a].divisor);
      for (int t = 0; t < N; ++t) at[t] += index * w.stride[t][a];
      i = next;
    }
  }
  // Values beyond n repeat the first.
  template <class T>
  __device__ __forceinline__ void load(int t, const T* x, T (&v)[V]) const {
    const T* p = x + at[t];
    if (walk.wide[t] && n == V) {
      const auto pack = *reinterpret_cast<const Pack<T, V>*>(p);
      for (int k = 0; k < V; ++k) v[k] = pack.v[k];
      return;
    }
    const int32_t stride = walk.stride[t][0];
    const T first = *p;
    for (int k = 0; k < V; ++k) v[k] = k == 0 || k >= n || stride == 0 ? first : p[k * stride];
  }
  template <class T>
  __device__ __forceinline__ void store(int t, T* y, const T (&v)[V]) const {
    T* p = y + at[t];
    if (walk.wide[t] && n == V) {
      Pack<T, V> pack;
      for (int k = 0; k < V; ++k) pack.v[k] = v[k];
      *reinterpret_cast<Pack<T, V>*>(p) = pack;
      return;
    }
    for (int k = 0; k < V; ++k)
      if (k < n) p[k * walk.stride[t][0]] = v[k];
  }
  // y = result(k), or y += result(k).
  template <class T, class Result>
  __device__ __forceinline__ void put(int t, T* y, bool accumulate, Result result) const {
    T out[V];
    if (accumulate) {
      load(t, y, out);
      for (int k = 0; k < V; ++k) out[k] = from_float<T>(to_float(out[k]) + result(k));
    } else {
      for (int k = 0; k < V; ++k) out[k] = from_float<T>(result(k));
    }
    store(t, y, out);
  }
};

template <int V, int N, class Body>
__global__ void __launch_bounds__(kThreads) walk_kernel(Body body, Walk<N> walk) {
  const auto i = static_cast<uint32_t>(flat_index());
  if (i >= walk.count) return;
  body.template run<V>(Spot<V, N>(walk, i));
}

template <int V, class Body>
cudaError_t elementwise(cudaStream_t stream, const Body& body, const Dims& extents, const Dims* const (&strides)[Body::kTensors]) {
  constexpr int N = Body::kTensors;
  Axes<N> axes;
  if (!read_axes(&axes, extents, strides)) return cudaErrorInvalidValue;
  axes.sort(0);
  axes.merge();
  return split_axes(axes, axes.rank, [&](const Axes<N>& part, const int64_t(&offset)[N]) {
    Body moved = body;
    Walk<N> walk = make_walk<V>(part);
    moved.pointers([&](int t, auto*& p) {
      if (offset[t] != 0) p += offset[t];
      walk.wide[t] = is_wide<V>(walk, t, p);
    });
    return launch(stream, walk_kernel<V, N, Body>, grid_of(ceil_div(walk.count, kThreads)), kThreads, moved, walk);
  });
}

// All tensors are one run of `count`.
template <int V, class Body>
cudaError_t elementwise(cudaStream_t stream, const Body& body, int64_t count) {
  const Dims extents{count}, ones{1};
  const Dims* strides[Body::kTensors];
  for (const Dims*& s : strides) s = &ones;
  return elementwise<V>(stream, body, extents, strides);
}

}  // namespace actmatch::kernels::cuda
