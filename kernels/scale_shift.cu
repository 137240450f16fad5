// A factor and an offset a channel: frozen batch norm.
#include "kernels/common/fold.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

template <class T>
struct ScaleShift {
  static constexpr int kTensors = 4;
  T* y;
  const T* x;
  const float *scale, *shift;  // shift = scale when there is none
  Clip clip;
  bool shifts, accumulate;
  template <class F>
  void pointers(F f) {
    f(0, y);
    f(1, x);
    f(2, scale);
    f(3, shift);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    T v[V];
    float factor[V], offset[V] = {};
    spot.load(1, x, v);
    spot.load(2, scale, factor);
    if (shifts) spot.load(3, shift, offset);
    spot.put(0, y, accumulate, [&](int k) { return clip(to_float(v[k]) * factor[k] + offset[k]); });
  }
};

template <class T>
cudaError_t run(cudaStream_t stream, const ScaleShift<T>& body, int64_t outer, int64_t C, int64_t inner) {
  const Dims strides{C * inner, inner, 1}, channel{0, 1, 0};
  return elementwise<pack_size<T>()>(stream, body, Dims{outer, C, inner}, {&strides, &strides, &channel, &channel});
}

}  // namespace

template <class T>
cudaError_t scale_shift(cudaStream_t stream, T* y, const T* x, const float* scale, const float* shift, int64_t outer, int64_t C,
                        int64_t inner, Clip clip) {
  return run(stream, ScaleShift<T>{y, x, scale, shift != nullptr ? shift : scale, clip, shift != nullptr, false}, outer, C, inner);
}

template <class T>
cudaError_t scale_shift_backward(cudaStream_t stream, T* dx, const T* dy, const float* scale, int64_t outer, int64_t C, int64_t inner,
                                 bool accumulate) {
  return run(stream, ScaleShift<T>{dx, dy, scale, scale, Clip{}, false, accumulate}, outer, C, inner);
}

template <class T>
cudaError_t scale_shift_backward_channels(cudaStream_t stream, float* dscale, float* dshift, const T* dy, const T* x, int64_t outer,
                                          int64_t C, int64_t inner, bool accumulate, void* scratch) {
  const Dims extents{outer, C, inner}, strides{C * inner, inner, 1}, channel{0, 1, 0};
  cudaError_t error = cudaSuccess;
  if (dscale != nullptr)
    error = fold<float, Sum>(stream, dscale, Product<T>{dy, x}, extents, {&channel, &strides, &strides}, 1.0f, accumulate, scratch);
  if (dshift != nullptr && error == cudaSuccess)
    error = fold<float, Sum>(stream, dshift, Linear<T>{dy, 1.0f}, extents, {&channel, &strides}, 1.0f, accumulate, scratch);
  return error;
}

#define ACTMATCH_INSTANTIATE(T)                                                                                                            \
  template cudaError_t scale_shift<T>(cudaStream_t, T*, const T*, const float*, const float*, int64_t, int64_t, int64_t, Clip);            \
  template cudaError_t scale_shift_backward<T>(cudaStream_t, T*, const T*, const float*, int64_t, int64_t, int64_t, bool);                 \
  template cudaError_t scale_shift_backward_channels<T>(cudaStream_t, float*, float*, const T*, const T*, int64_t, int64_t, int64_t, bool, \
                                                        void*);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(bfloat16)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels::cuda
