// Copies between strided tensors, with conversion. A thread has a pack along the axis that is contiguous in the result; transposes of two
// large axes go through transpose.cuh's tiles.
#include "kernels/common/transpose.cuh"
#include "kernels/common/walk.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

template <class To, class From>
struct Copy {
  static constexpr int kTensors = 2;
  To* y;
  const From* x;
  bool accumulate;
  template <class F>
  void pointers(F f) {
    f(0, y);
    f(1, x);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    From v[V];
    spot.load(1, x, v);
    if constexpr (kIsReal<To> && kIsReal<From>) {
      if (accumulate) {
        spot.put(0, y, true, [&](int k) { return to_float(v[k]); });
        return;
      }
    }
    To out[V];
    for (int k = 0; k < V; ++k) out[k] = convert<To>(v[k]);
    spot.store(0, y, out);
  }
};

}  // namespace

Dims contiguous_strides(const Dims& extents) {
  Dims strides = extents;
  int64_t next = 1;
  for (int a = extents.rank < kMaxRank ? extents.rank : kMaxRank; a-- > 0;) {
    strides.at[a] = next;
    next *= extents.at[a];
  }
  return strides;
}

template <class To, class From>
cudaError_t copy_strided(cudaStream_t stream, To* y, const From* x, const Dims& extents, const Dims& y_strides, const Dims& x_strides,
                         bool accumulate) {
  if (accumulate && !(kIsReal<To> && kIsReal<From>)) return cudaErrorInvalidValue;
  if constexpr (sizeof(From) <= 4 && sizeof(To) <= 4) {
    Axes<2> axes;
    if (!read_axes(&axes, extents, {&y_strides, &x_strides})) return cudaErrorInvalidValue;
    axes.sort(0);
    axes.merge();
    const int across = transposed_axis(axes);
    if (across >= 0) return transpose_tiles(stream, y, x, axes, across, accumulate);
  }
  return elementwise<pack_size<To, From>()>(stream, Copy<To, From>{y, x, accumulate}, extents, {&y_strides, &x_strides});
}

template <class To, class From>
cudaError_t transpose(cudaStream_t stream, To* y, const From* x, int64_t n, int64_t a, int64_t b, bool accumulate) {
  return copy_strided(stream, y, x, Dims{n, b, a}, Dims{a * b, a, 1}, Dims{a * b, 1, b}, accumulate);
}

#define ACTMATCH_COPY(TO, FROM)                                                                                             \
  template cudaError_t copy_strided<TO, FROM>(cudaStream_t, TO*, const FROM*, const Dims&, const Dims&, const Dims&, bool); \
  template cudaError_t transpose<TO, FROM>(cudaStream_t, TO*, const FROM*, int64_t, int64_t, int64_t, bool);
#define ACTMATCH_COPY_TO(TO)  \
  ACTMATCH_COPY(TO, float)    \
  ACTMATCH_COPY(TO, bfloat16) \
  ACTMATCH_COPY(TO, uint8_t)  \
  ACTMATCH_COPY(TO, int64_t)
ACTMATCH_COPY_TO(float)
ACTMATCH_COPY_TO(bfloat16)
ACTMATCH_COPY_TO(uint8_t)
ACTMATCH_COPY_TO(int64_t)
#undef ACTMATCH_COPY_TO
#undef ACTMATCH_COPY

}  // namespace actmatch::kernels::cuda
