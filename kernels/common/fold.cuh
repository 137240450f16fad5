// Sums and maxima over some axes of strided tensors: y (+)= factor * fold over the axes where y has stride 0 of map(inputs).
//
// Where a summed axis is the contiguous one, a warp or a block has a result and its lanes go along that axis; where a kept axis is, the
// lanes of a warp have 32 neighbouring results and the block's 8 warps share the summed elements. Too many of those for one block are cut
// into slices, each of which leaves a partial result in scratch, and a second launch folds these. All of that follows from the summed
// extents and the strides alone, so a result has the same bits however many others there are.
//
// A map is a struct with the inputs' pointers:
//   static constexpr int kInputs, kPack;                      // kPack: pack_size of the inputs' types
//   template <class Self, class F> static void visit(Self& self, F f);   // f(number, pointer) for each input
//   __device__ float value(const float (&in)[kInputs]) const;
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/common/reduce.cuh"
#include "kernels/common/walk.cuh"

namespace actmatch::kernels::cuda {

struct Sum {
  static __device__ __forceinline__ float neutral() { return 0.0f; }
  static __device__ __forceinline__ float apply(float a, float b) { return a + b; }
};
struct Largest {  // a NaN wins
  static __device__ __forceinline__ float neutral() { return -INFINITY; }
  static __device__ __forceinline__ float apply(float a, float b) { return max_or_nan(a, b); }
};

// factor * x
template <class T>
struct Linear {
  static constexpr int kInputs = 1, kPack = pack_size<T>();
  const T* x;
  float factor;
  template <class Self, class F>
  static ACTMATCH_HD void visit(Self& self, F f) {
    f(0, self.x);
  }
  __device__ __forceinline__ float value(const float (&in)[1]) const { return factor * in[0]; }
};
// a * b
template <class T>
struct Product {
  static constexpr int kInputs = 2, kPack = pack_size<T>();
  const T *a, *b;
  template <class Self, class F>
  static ACTMATCH_HD void visit(Self& self, F f) {
    f(0, self.a);
    f(1, self.b);
  }
  __device__ __forceinline__ float value(const float (&in)[2]) const { return in[0] * in[1]; }
};

inline constexpr int64_t kColumnSlice = 512, kRowSlice = 8192, kMostSlices = 512;
inline constexpr int kColumns = 32, kWarps = kThreads / 32;

struct FoldJob {
  int32_t length, slice;  // elements a result, and of these a block has
  int32_t lanes;          // rows: 32 or kThreads threads a result
  float factor;
  bool accumulate;
};

template <class Map>
__device__ __forceinline__ float map_at(const Map& map, const int32_t (&base)[Map::kInputs + 1], const Walk<Map::kInputs>& reduced,
                                        int32_t j) {
  const Spot<1, Map::kInputs> from(reduced, static_cast<uint32_t>(j));
  float in[Map::kInputs];
  Map::visit(map, [&](int t, const auto* p) { in[t] = convert<float>(p[base[t + 1] + from.at[t]]); });
  return map.value(in);
}

template <class To>
__device__ __forceinline__ void finish(To* y, float v, const FoldJob& job) {
  v *= job.factor;
  *y = from_float<To>(job.accumulate ? to_float(*y) + v : v);
}

// partial [results][slices], or null when there is one slice.
template <class To, class Fold, class Map>
__global__ void __launch_bounds__(kThreads)
    fold_rows_kernel(To* y, float* partial, Map map, Walk<Map::kInputs + 1> kept, Walk<Map::kInputs> reduced, FoldJob job) {
  const int lane = thread_index() % job.lanes;
  const uint32_t result = job.lanes == 32 ? blockIdx.x * kWarps + threadIdx.x / 32 : blockIdx.x;
  if (result >= kept.count) return;  // a whole warp; with kThreads lanes never
  const Spot<1, Map::kInputs + 1> spot(kept, result);
  const int32_t begin = static_cast<int32_t>(blockIdx.y) * job.slice;
  const int32_t end = job.length - begin < job.slice ? job.length : begin + job.slice;
  float v = Fold::neutral();
  for (int32_t j = begin + lane; j < end; j += job.lanes) v = Fold::apply(v, map_at(map, spot.at, reduced, j));
  const auto over_warp = [](float u) {
    for (int bit = 16; bit > 0; bit /= 2) u = Fold::apply(u, __shfl_xor_sync(kAllLanes, u, bit));
    return u;
  };
  v = job.lanes == 32 ? over_warp(v) : block_combine(v, Fold::neutral(), over_warp);
  if (lane != 0) return;
  if (partial != nullptr) {
    partial[static_cast<int64_t>(result) * gridDim.y + blockIdx.y] = v;
  } else {
    finish(y + spot.at[0], v, job);
  }
}

static __device__ __forceinline__ float* column_words() {
  __shared__ float words[kThreads];
  return words;
}

// partial [slices][results], or null when there is one slice.
template <class To, class Fold, class Map>
__global__ void __launch_bounds__(kThreads)
    fold_columns_kernel(To* y, float* partial, Map map, Walk<Map::kInputs + 1> kept, Walk<Map::kInputs> reduced, FoldJob job) {
  float* words = column_words();
  const int lane = thread_index() % 32, warp = thread_index() / 32;
  const uint32_t result = blockIdx.x * kColumns + static_cast<uint32_t>(lane);
  const bool here = result < kept.count;
  const Spot<1, Map::kInputs + 1> spot(kept, here ? result : 0);
  const int32_t begin = static_cast<int32_t>(blockIdx.y) * job.slice;
  const int32_t end = job.length - begin < job.slice ? job.length : begin + job.slice;
  float v = Fold::neutral();
  if (here)
    for (int32_t j = begin + warp; j < end; j += kWarps) v = Fold::apply(v, map_at(map, spot.at, reduced, j));
  words[thread_index()] = v;
  __syncthreads();
  if (warp != 0 || !here) return;
  for (int w = 1; w < kWarps; ++w) v = Fold::apply(v, words[w * 32 + lane]);
  if (partial != nullptr) {
    partial[static_cast<int64_t>(blockIdx.y) * kept.count + result] = v;
  } else {
    finish(y + spot.at[0], v, job);
  }
}

// The same without an axis to sum over.
template <class To, class Map>
struct MapBody {
  static constexpr int kTensors = Map::kInputs + 1;
  To* y;
  Map map;
  float factor;
  bool accumulate;
  template <class F>
  void pointers(F f) {
    f(0, y);
    Map::visit(map, [&](int t, auto*& p) { f(t + 1, p); });
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    float in[Map::kInputs][V];
    Map::visit(map, [&](int t, const auto* p) {
      std::remove_cvref_t<decltype(*p)> raw[V];
      spot.load(t + 1, p, raw);
      for (int k = 0; k < V; ++k) in[t][k] = convert<float>(raw[k]);
    });
    spot.put(0, y, accumulate, [&](int k) {
      float v[Map::kInputs];
      for (int t = 0; t < Map::kInputs; ++t) v[t] = in[t][k];
      return factor * map.value(v);
    });
  }
};

struct FoldSlices {
  int64_t slice, slices;
};
inline FoldSlices fold_slices(int64_t length, bool columns) {
  const int64_t least = columns ? kColumnSlice : kRowSlice;
  const int64_t slice = std::max(least, ceil_div(length, kMostSlices));
  return {slice, std::max<int64_t>(1, ceil_div(length, slice))};
}

// One launch, or two. kept: y and the inputs; reduced: the inputs.
template <class To, class Fold, class Map>
cudaError_t fold_launch(cudaStream_t stream, To* y, const Map& map, const Axes<Map::kInputs + 1>& kept, const Axes<Map::kInputs>& reduced,
                        int64_t length, bool columns, float factor, bool accumulate, float* scratch) {
  const FoldSlices cut = fold_slices(length, columns);
  const bool final = cut.slices == 1;
  float* partial = final ? nullptr : scratch;
  const int lanes = length <= 512 ? 32 : kThreads;
  const FoldJob job{static_cast<int32_t>(length), static_cast<int32_t>(cut.slice), lanes, factor, accumulate};
  const int64_t results = kept.count(), across = columns ? ceil_div(results, kColumns) : lanes == 32 ? ceil_div(results, kWarps) : results;
  const cudaError_t error = launch(stream, columns ? fold_columns_kernel<To, Fold, Map> : fold_rows_kernel<To, Fold, Map>,
                                   grid_of(across, cut.slices), kThreads, y, partial, map, make_walk<1>(kept), make_walk<1>(reduced), job);
  if (final || error != cudaSuccess) return error;
  // At most kMostSlices partial results: the second launch has one slice.
  Axes<2> result;
  int64_t next = results * (columns ? 1 : cut.slices);
  for (int a = 0; a < kept.rank; ++a) {
    next /= kept.extent[a];
    result.push(kept.extent[a], {kept.stride[0][a], next});
  }
  Axes<1> slices;
  slices.push(cut.slices, {columns ? results : 1});
  return fold_launch<To, Fold>(stream, y, Linear<float>{partial, 1.0f}, result, slices, cut.slices, columns, factor, accumulate, nullptr);
}

// The shortest way from one element of the first input to another.
template <int N>
int64_t shortest_step(const Axes<N>& axes, int tensor) {
  int64_t shortest = std::numeric_limits<int64_t>::max();
  for (int a = 0; a < axes.rank; ++a)
    if (axes.stride[tensor][a] != 0) shortest = std::min(shortest, std::abs(axes.stride[tensor][a]));
  return shortest;
}

// y (+)= factor * fold of map over the axes where y's stride is 0. strides: y's and the inputs'. scratch: reduce_scratch_bytes.
template <class To, class Fold, class Map>
cudaError_t fold(cudaStream_t stream, To* y, const Map& map, const Dims& extents, const Dims* const (&strides)[Map::kInputs + 1],
                 float factor, bool accumulate, void* scratch) {
  constexpr int K = Map::kInputs, N = K + 1;
  Axes<N> all, kept, summed;
  if (!read_axes(&all, extents, strides)) return cudaErrorInvalidValue;
  for (int a = 0; a < all.rank; ++a) (all.stride[0][a] != 0 ? kept : summed).push_from(all, a);
  if (kept.count() == 0) return cudaSuccess;
  int64_t length = summed.count();
  if (length == 1) return elementwise<Map::kPack>(stream, MapBody<To, Map>{y, map, factor, accumulate}, extents, strides);
  if (length == 0) summed = {};  // a walk over one element, of which none is read
  kept.sort(1);
  kept.merge();
  summed.sort(1);
  summed.merge();
  const bool columns = shortest_step(kept, 1) < shortest_step(summed, 1);
  Axes<N> joined = kept;
  for (int a = 0; a < summed.rank; ++a) joined.push_from(summed, a);
  return split_axes(joined, kept.rank, [&](const Axes<N>& part, const int64_t(&offset)[N]) {
    Map moved = map;
    Map::visit(moved, [&](int t, auto*& p) {
      if (offset[t + 1] != 0) p += offset[t + 1];
    });
    Axes<N> results;
    Axes<K> reduced;
    for (int a = 0; a < part.rank; ++a) {
      if (a < kept.rank) {
        results.push_from(part, a);
        continue;
      }
      int64_t s[K];
      for (int t = 0; t < K; ++t) s[t] = part.stride[t + 1][a];
      reduced.push(part.extent[a], s);
    }
    return fold_launch<To, Fold>(stream, y + offset[0], moved, results, reduced, length, columns, factor, accumulate,
                                 static_cast<float*>(scratch));
  });
}

}  // namespace actmatch::kernels::cuda
