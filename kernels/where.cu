// Choice by a condition, with broadcasting; the gradient of a side is dy where that side was chosen, summed where it was broadcast.
#include "kernels/common/fold.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

template <class T>
struct Where {
  static constexpr int kTensors = 4;
  T* y;
  const uint8_t* condition;
  const T *a, *b;
  template <class F>
  void pointers(F f) {
    f(0, y);
    f(1, condition);
    f(2, a);
    f(3, b);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    uint8_t c[V];
    T u[V], v[V], out[V];
    spot.load(1, condition, c);
    spot.load(2, a, u);
    spot.load(3, b, v);
    for (int k = 0; k < V; ++k) out[k] = c[k] != 0 ? u[k] : v[k];
    spot.store(0, y, out);
  }
};

template <class T>
struct Chosen {
  static constexpr int kInputs = 2, kPack = pack_size<T, uint8_t>();
  const T* dy;
  const uint8_t* condition;
  bool first;
  template <class Self, class F>
  static ACTMATCH_HD void visit(Self& self, F f) {
    f(0, self.dy);
    f(1, self.condition);
  }
  __device__ __forceinline__ float value(const float (&in)[2]) const { return (in[1] != 0.0f) == first ? in[0] : 0.0f; }
};

}  // namespace

template <class T>
cudaError_t where(cudaStream_t stream, T* y, const uint8_t* condition, const T* a, const T* b, const Dims& extents, const Dims& y_strides,
                  const Dims& condition_strides, const Dims& a_strides, const Dims& b_strides) {
  return elementwise<pack_size<T, uint8_t>()>(stream, Where<T>{y, condition, a, b}, extents,
                                              {&y_strides, &condition_strides, &a_strides, &b_strides});
}

template <class T>
cudaError_t where_backward(cudaStream_t stream, T* dx, const T* dy, const uint8_t* condition, Side side, const Dims& extents,
                           const Dims& dx_strides, const Dims& dy_strides, const Dims& condition_strides, bool accumulate, void* scratch) {
  return fold<T, Sum>(stream, dx, Chosen<T>{dy, condition, side == Side::kFirst}, extents, {&dx_strides, &dy_strides, &condition_strides},
                      1.0f, accumulate, scratch);
}

#define ACTMATCH_WHERE(T)                                                                                                                 \
  template cudaError_t where<T>(cudaStream_t, T*, const uint8_t*, const T*, const T*, const Dims&, const Dims&, const Dims&, const Dims&, \
                                const Dims&);
ACTMATCH_WHERE(float)
ACTMATCH_WHERE(bfloat16)
ACTMATCH_WHERE(uint8_t)
ACTMATCH_WHERE(int64_t)
#undef ACTMATCH_WHERE
template cudaError_t where_backward<float>(cudaStream_t, float*, const float*, const uint8_t*, Side, const Dims&, const Dims&, const Dims&,
                                           const Dims&, bool, void*);
template cudaError_t where_backward<bfloat16>(cudaStream_t, bfloat16*, const bfloat16*, const uint8_t*, Side, const Dims&, const Dims&,
                                              const Dims&, const Dims&, bool, void*);

}  // namespace actmatch::kernels::cuda
