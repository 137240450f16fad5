// Sums, clips and constants over contiguous memory: what the operators leave behind or in front of a library's call.
#include "kernels/common/walk.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

struct Fill {
  static constexpr int kTensors = 1;
  bfloat16* x;
  float value;
  template <class F>
  void pointers(F f) {
    f(0, x);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    spot.put(0, x, false, [&](int) { return value; });
  }
};

template <class T>
struct ClipInplace {
  static constexpr int kTensors = 1;
  T* y;
  Clip clip;
  template <class F>
  void pointers(F f) {
    f(0, y);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    T v[V];
    spot.load(0, y, v);
    spot.put(0, y, false, [&](int k) { return clip(to_float(v[k])); });
  }
};

template <class T>
struct ClipBackward {
  static constexpr int kTensors = 3;
  T* dx;
  const T *dy, *y;
  Clip clip;
  template <class F>
  void pointers(F f) {
    f(0, dx);
    f(1, dy);
    f(2, y);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    T d[V], v[V];
    spot.load(1, dy, d);
    spot.load(2, y, v);
    spot.put(0, dx, false, [&](int k) { return clip.passes(to_float(v[k])) ? to_float(d[k]) : 0.0f; });
  }
};

template <class T>
struct Add {
  static constexpr int kTensors = 3;
  T* out;
  const T *a, *b;
  Clip clip;
  template <class F>
  void pointers(F f) {
    f(0, out);
    f(1, a);
    f(2, b);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    T u[V], v[V];
    spot.load(1, a, u);
    spot.load(2, b, v);
    spot.put(0, out, false, [&](int k) { return clip(to_float(u[k]) + to_float(v[k])); });
  }
};

template <class T>
struct AddClipBackward {
  static constexpr int kTensors = 4;
  T* out;
  const T *a, *b, *y;
  Clip clip;
  template <class F>
  void pointers(F f) {
    f(0, out);
    f(1, a);
    f(2, b);
    f(3, y);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    T u[V], v[V], w[V];
    spot.load(1, a, u);
    spot.load(2, b, v);
    spot.load(3, y, w);
    spot.put(0, out, false, [&](int k) { return clip.passes(to_float(w[k])) ? to_float(u[k]) + to_float(v[k]) : 0.0f; });
  }
};

template <class To, class From>
struct Scale {
  static constexpr int kTensors = 2;
  To* y;
  const From* x;
  float factor;
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
    spot.put(0, y, accumulate, [&](int k) { return factor * to_float(v[k]); });
  }
};

}  // namespace

cudaError_t fill(cudaStream_t stream, bfloat16* x, float value, int64_t count) {
  return elementwise<pack_size<bfloat16>()>(stream, Fill{x, value}, count);
}
template <class T>
cudaError_t clip_inplace(cudaStream_t stream, T* y, Clip clip, int64_t count) {
  return elementwise<pack_size<T>()>(stream, ClipInplace<T>{y, clip}, count);
}
template <class T>
cudaError_t clip_backward(cudaStream_t stream, T* dx, const T* dy, const T* y, Clip clip, int64_t count) {
  return elementwise<pack_size<T>()>(stream, ClipBackward<T>{dx, dy, y, clip}, count);
}
template <class T>
cudaError_t add(cudaStream_t stream, T* out, const T* a, const T* b, Clip clip, int64_t count) {
  return elementwise<pack_size<T>()>(stream, Add<T>{out, a, b, clip}, count);
}
template <class T>
cudaError_t add_clip_backward(cudaStream_t stream, T* out, const T* a, const T* b, const T* y, Clip clip, int64_t count) {
  return elementwise<pack_size<T>()>(stream, AddClipBackward<T>{out, a, b, y, clip}, count);
}
template <class To, class From>
cudaError_t scale(cudaStream_t stream, To* y, const From* x, float factor, int64_t count, bool accumulate) {
  return elementwise<pack_size<To, From>()>(stream, Scale<To, From>{y, x, factor, accumulate}, count);
}

#define ACTMATCH_INSTANTIATE(T)                                                                             \
  template cudaError_t clip_inplace<T>(cudaStream_t, T*, Clip, int64_t);                                    \
  template cudaError_t clip_backward<T>(cudaStream_t, T*, const T*, const T*, Clip, int64_t);               \
  template cudaError_t add<T>(cudaStream_t, T*, const T*, const T*, Clip, int64_t);                         \
  template cudaError_t add_clip_backward<T>(cudaStream_t, T*, const T*, const T*, const T*, Clip, int64_t); \
  template cudaError_t scale<T, float>(cudaStream_t, T*, const float*, float, int64_t, bool);               \
  template cudaError_t scale<T, bfloat16>(cudaStream_t, T*, const bfloat16*, float, int64_t, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(bfloat16)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels::cuda
