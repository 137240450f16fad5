// Elementwise functions of two arguments with broadcasting; the gradient of a broadcast operand is a sum (common/fold.cuh) of products.
#include "kernels/common/fold.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

template <BinaryOp op>
__device__ __forceinline__ float value_of(float a, float b) {
  if constexpr (op == BinaryOp::kAdd) return a + b;
  if constexpr (op == BinaryOp::kSub) return a - b;
  if constexpr (op == BinaryOp::kMul) return a * b;
  if constexpr (op == BinaryOp::kDiv) return a / b;
  if constexpr (op == BinaryOp::kPow) return powf(a, b);
  if constexpr (op == BinaryOp::kMin) return min_or_nan(a, b);
  if constexpr (op == BinaryOp::kMax) return max_or_nan(a, b);
}

template <class T, BinaryOp op>
struct Binary {
  static constexpr int kTensors = 3;
  T* y;
  const T *a, *b;
  Clip clip;
  template <class F>
  void pointers(F f) {
    f(0, y);
    f(1, a);
    f(2, b);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    T u[V], v[V];
    spot.load(1, a, u);
    spot.load(2, b, v);
    spot.put(0, y, false, [&](int k) { return clip(value_of<op>(to_float(u[k]), to_float(v[k]))); });
  }
};

// float for the types of storage, the others as they are.
__device__ __forceinline__ float comparable(float v) { return v; }
__device__ __forceinline__ float comparable(bfloat16 v) { return to_float(v); }
__device__ __forceinline__ int64_t comparable(int64_t v) { return v; }
__device__ __forceinline__ int64_t comparable(uint8_t v) { return v; }

template <class T>
struct Compare {
  static constexpr int kTensors = 3;
  uint8_t* y;
  const T *a, *b;
  BinaryOp op;
  template <class F>
  void pointers(F f) {
    f(0, y);
    f(1, a);
    f(2, b);
  }
  template <class C>
  __device__ __forceinline__ bool holds(C u, C v) const {
    switch (op) {
      case BinaryOp::kEqual: return u == v;
      case BinaryOp::kLess: return u < v;
      case BinaryOp::kLessOrEqual: return u <= v;
      case BinaryOp::kGreater: return u > v;
      case BinaryOp::kGreaterOrEqual: return u >= v;
      case BinaryOp::kAnd: return u != 0 && v != 0;
      default: return u != 0 || v != 0;
    }
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    T u[V], v[V];
    uint8_t out[V];
    spot.load(1, a, u);
    spot.load(2, b, v);
    for (int k = 0; k < V; ++k) out[k] = holds(comparable(u[k]), comparable(v[k])) ? 1 : 0;
    spot.store(0, y, out);
  }
};

// dy * d(a op b)/d(operand) where that is more than a factor or the other operand.
template <class T>
struct Derivative {
  static constexpr int kInputs = 3, kPack = pack_size<T>();
  const T *dy, *a, *b;
  BinaryOp op;
  bool first;
  template <class Self, class F>
  static ACTMATCH_HD void visit(Self& self, F f) {
    f(0, self.dy);
    f(1, self.a);
    f(2, self.b);
  }
  __device__ __forceinline__ float derivative(float u, float v) const {
    switch (op) {
      case BinaryOp::kDiv: return first ? 1.0f / v : -u / (v * v);
      case BinaryOp::kPow:
        if (first) return v == 0.0f ? 0.0f : v * powf(u, v - 1.0f);
        return u == 0.0f ? 0.0f : powf(u, v) * logf(u);
      case BinaryOp::kMin: return u == v ? 0.5f : (u < v) == first ? 1.0f : 0.0f;
      default: return u == v ? 0.5f : (u > v) == first ? 1.0f : 0.0f;  // kMax
    }
  }
  __device__ __forceinline__ float value(const float (&in)[3]) const { return in[0] * derivative(in[1], in[2]); }
};

}  // namespace

template <class T>
cudaError_t binary(cudaStream_t stream, T* y, const T* a, const T* b, BinaryOp op, const Dims& extents, const Dims& y_strides,
                   const Dims& a_strides, const Dims& b_strides, Clip clip) {
  switch (op) {
#define ACTMATCH_CASE(OP) \
  case BinaryOp::OP:      \
    return elementwise<pack_size<T>()>(stream, Binary<T, BinaryOp::OP>{y, a, b, clip}, extents, {&y_strides, &a_strides, &b_strides});
    ACTMATCH_CASE(kAdd)
    ACTMATCH_CASE(kSub)
    ACTMATCH_CASE(kMul)
    ACTMATCH_CASE(kDiv)
    ACTMATCH_CASE(kPow)
    ACTMATCH_CASE(kMin)
    ACTMATCH_CASE(kMax)
#undef ACTMATCH_CASE
    default: return cudaErrorInvalidValue;
  }
}

template <class T>
cudaError_t compare(cudaStream_t stream, uint8_t* y, const T* a, const T* b, BinaryOp op, const Dims& extents, const Dims& y_strides,
                    const Dims& a_strides, const Dims& b_strides) {
  if (op < BinaryOp::kEqual || op > BinaryOp::kOr) return cudaErrorInvalidValue;
  return elementwise<pack_size<uint8_t, T>()>(stream, Compare<T>{y, a, b, op}, extents, {&y_strides, &a_strides, &b_strides});
}

template <class T>
cudaError_t binary_backward(cudaStream_t stream, T* dx, const T* dy, const T* a, const T* b, BinaryOp op, Side side, const Dims& extents,
                            const Dims& dy_strides, const Dims& a_strides, const Dims& b_strides, bool accumulate, void* scratch) {
  const bool first = side == Side::kFirst;
  const Dims& own = first ? a_strides : b_strides;
  switch (op) {
    case BinaryOp::kAdd:
    case BinaryOp::kSub: {
      const float sign = op == BinaryOp::kSub && !first ? -1.0f : 1.0f;
      return fold<T, Sum>(stream, dx, Linear<T>{dy, 1.0f}, extents, {&own, &dy_strides}, sign, accumulate, scratch);
    }
    case BinaryOp::kMul:
      return fold<T, Sum>(stream, dx, Product<T>{dy, first ? b : a}, extents, {&own, &dy_strides, first ? &b_strides : &a_strides}, 1.0f,
                          accumulate, scratch);
    case BinaryOp::kDiv:
      // d/da does not read a.
      return fold<T, Sum>(stream, dx, Derivative<T>{dy, first ? b : a, b, op, first}, extents,
                          {&own, &dy_strides, first ? &b_strides : &a_strides, &b_strides}, 1.0f, accumulate, scratch);
    case BinaryOp::kPow:
    case BinaryOp::kMin:
    case BinaryOp::kMax:
      return fold<T, Sum>(stream, dx, Derivative<T>{dy, a, b, op, first}, extents, {&own, &dy_strides, &a_strides, &b_strides}, 1.0f,
                          accumulate, scratch);
    default: return cudaErrorInvalidValue;
  }
}

#define ACTMATCH_INSTANTIATE(T)                                                                                                      \
  template cudaError_t binary<T>(cudaStream_t, T*, const T*, const T*, BinaryOp, const Dims&, const Dims&, const Dims&, const Dims&, \
                                 Clip);                                                                                              \
  template cudaError_t binary_backward<T>(cudaStream_t, T*, const T*, const T*, const T*, BinaryOp, Side, const Dims&, const Dims&,  \
                                          const Dims&, const Dims&, bool, void*);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(bfloat16)
#undef ACTMATCH_INSTANTIATE
#define ACTMATCH_COMPARE(T) \
  template cudaError_t compare<T>(cudaStream_t, uint8_t*, const T*, const T*, BinaryOp, const Dims&, const Dims&, const Dims&, const Dims&);
ACTMATCH_COMPARE(float)
ACTMATCH_COMPARE(bfloat16)
ACTMATCH_COMPARE(uint8_t)
ACTMATCH_COMPARE(int64_t)
#undef ACTMATCH_COMPARE

}  // namespace actmatch::kernels::cuda
