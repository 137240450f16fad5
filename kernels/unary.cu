// Elementwise functions of one argument and their gradients; a thread has 16 bytes.
#include "kernels/common/walk.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

struct Parameters {
  float alpha, beta;
};

enum class Saved { kInput, kOutput, kNothing, kNoDerivative };

__device__ __forceinline__ float clip01(float v) { return Clip{0.0f, 1.0f}(v); }

__device__ __forceinline__ float gelu_curve(float x) { return tanhf(0.79788456f * (x + 0.044715f * x * x * x)); }

// The value at x, and the derivative from what is saved, v: x or y. Comparisons are written so that a NaN is passed on.
template <UnaryOp op>
struct Function;
#define ACTMATCH_UNARY(OP, SAVED, VALUE, DERIVATIVE)                                                                                   \
  template <>                                                                                                                          \
  struct Function<UnaryOp::OP> {                                                                                                       \
    static constexpr Saved kSaved = Saved::SAVED;                                                                                      \
    static __device__ __forceinline__ float value([[maybe_unused]] float x, [[maybe_unused]] Parameters p) { return VALUE; }           \
    static __device__ __forceinline__ float derivative([[maybe_unused]] float v, [[maybe_unused]] Parameters p) { return DERIVATIVE; } \
  };
ACTMATCH_UNARY(kRelu, kOutput, x <= 0.0f ? 0.0f : x, v > 0.0f ? 1.0f : 0.0f)
ACTMATCH_UNARY(kLeakyRelu, kInput, x > 0.0f ? x : p.alpha * x, v > 0.0f ? 1.0f : p.alpha)
ACTMATCH_UNARY(kClip, kInput, (Clip{p.alpha, p.beta}(x)), v > p.alpha && v < p.beta ? 1.0f : 0.0f)
ACTMATCH_UNARY(kSigmoid, kOutput, 1.0f / (1.0f + expf(-x)), v*(1.0f - v))
ACTMATCH_UNARY(kTanh, kOutput, tanhf(x), 1.0f - v * v)
ACTMATCH_UNARY(kExp, kOutput, expf(x), v)
ACTMATCH_UNARY(kLog, kInput, logf(x), 1.0f / v)
ACTMATCH_UNARY(kSqrt, kOutput, sqrtf(x), 0.5f / v)
ACTMATCH_UNARY(kReciprocal, kOutput, 1.0f / x, -v* v)
ACTMATCH_UNARY(kNeg, kNothing, -x, -1.0f)
ACTMATCH_UNARY(kAbs, kInput, fabsf(x), v > 0.0f ? 1.0f : v < 0.0f ? -1.0f : 0.0f)
ACTMATCH_UNARY(kErf, kInput, erff(x), 1.1283791671f * expf(-v * v))  // 2 / sqrt(pi)
ACTMATCH_UNARY(kHardSigmoid, kInput, clip01(p.alpha* x + p.beta),
               p.alpha* v + p.beta > 0.0f && p.alpha * v + p.beta < 1.0f ? p.alpha : 0.0f)
ACTMATCH_UNARY(kHardSwish, kInput, x* clip01(x / 6.0f + 0.5f), v <= -3.0f ? 0.0f : v >= 3.0f ? 1.0f : v / 3.0f + 0.5f)
ACTMATCH_UNARY(kElu, kInput, x > 0.0f ? x : p.alpha * expm1f(x), v > 0.0f ? 1.0f : p.alpha * expf(v))
ACTMATCH_UNARY(kSoftplus, kInput, (x <= 0.0f ? 0.0f : x) + log1pf(expf(-fabsf(x))), 1.0f / (1.0f + expf(-v)))
ACTMATCH_UNARY(kFloor, kNoDerivative, floorf(x), 0.0f)
ACTMATCH_UNARY(kCeil, kNoDerivative, ceilf(x), 0.0f)
ACTMATCH_UNARY(kRound, kNoDerivative, rintf(x), 0.0f)
ACTMATCH_UNARY(kSin, kInput, sinf(x), cosf(v))
ACTMATCH_UNARY(kCos, kInput, cosf(x), -sinf(v))
ACTMATCH_UNARY(kTan, kInput, tanf(x), 1.0f / (cosf(v) * cosf(v)))
ACTMATCH_UNARY(kAsin, kInput, asinf(x), 1.0f / sqrtf((1.0f - v) * (1.0f + v)))
ACTMATCH_UNARY(kAcos, kInput, acosf(x), -1.0f / sqrtf((1.0f - v) * (1.0f + v)))
ACTMATCH_UNARY(kAtan, kInput, atanf(x), 1.0f / (1.0f + v * v))
ACTMATCH_UNARY(kSinh, kInput, sinhf(x), coshf(v))
ACTMATCH_UNARY(kCosh, kInput, coshf(x), sinhf(v))
ACTMATCH_UNARY(kAsinh, kInput, asinhf(x), 1.0f / sqrtf(v * v + 1.0f))
ACTMATCH_UNARY(kAcosh, kInput, acoshf(x), 1.0f / sqrtf((v - 1.0f) * (v + 1.0f)))
ACTMATCH_UNARY(kAtanh, kInput, atanhf(x), 1.0f / ((1.0f - v) * (1.0f + v)))
ACTMATCH_UNARY(kGelu, kInput, 0.5f * x * (1.0f + erff(0.70710678f * x)),
               0.5f * (1.0f + erff(0.70710678f * v)) + 0.39894228f * v * expf(-0.5f * v * v))  // the normal distribution and its density
ACTMATCH_UNARY(kGeluTanh, kInput, 0.5f * x * (1.0f + gelu_curve(x)),
               0.5f * (1.0f + gelu_curve(v)) * (1.0f + v * (1.0f - gelu_curve(v)) * (0.79788456f + 0.10703222f * v * v)))
ACTMATCH_UNARY(kNot, kNoDerivative, x == 0.0f ? 1.0f : 0.0f, 0.0f)
ACTMATCH_UNARY(kIdentity, kNothing, x, 1.0f)
#undef ACTMATCH_UNARY

template <class T, UnaryOp op>
struct Forward {
  static constexpr int kTensors = 2;
  T* y;
  const T* x;
  Parameters p;
  template <class F>
  void pointers(F f) {
    f(0, y);
    f(1, x);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    T v[V];
    spot.load(1, x, v);
    spot.put(0, y, false, [&](int k) { return Function<op>::value(to_float(v[k]), p); });
  }
};

template <class T, UnaryOp op>
struct Backward {
  static constexpr int kTensors = 3;
  T* dx;
  const T *dy, *saved;  // saved is dy where nothing is read
  Parameters p;
  bool accumulate;
  template <class F>
  void pointers(F f) {
    f(0, dx);
    f(1, dy);
    f(2, saved);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    T d[V], v[V] = {};
    spot.load(1, dy, d);
    if constexpr (Function<op>::kSaved != Saved::kNothing) spot.load(2, saved, v);
    spot.put(0, dx, accumulate, [&](int k) { return to_float(d[k]) * Function<op>::derivative(to_float(v[k]), p); });
  }
};

struct Not {
  static constexpr int kTensors = 2;
  uint8_t* y;
  const uint8_t* x;
  template <class F>
  void pointers(F f) {
    f(0, y);
    f(1, x);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    uint8_t v[V], out[V];
    spot.load(1, x, v);
    for (int k = 0; k < V; ++k) out[k] = v[k] == 0 ? 1 : 0;
    spot.store(0, y, out);
  }
};

template <UnaryOp op>
using Constant = std::integral_constant<UnaryOp, op>;

// f(Constant<op>()) for the op that has this number.
template <class F>
cudaError_t dispatch(UnaryOp op, F f) {
  switch (op) {
#define ACTMATCH_CASE(OP) \
  case UnaryOp::OP: return f(Constant<UnaryOp::OP>());
    ACTMATCH_CASE(kRelu)
    ACTMATCH_CASE(kLeakyRelu)
    ACTMATCH_CASE(kClip)
    ACTMATCH_CASE(kSigmoid)
    ACTMATCH_CASE(kTanh)
    ACTMATCH_CASE(kExp)
    ACTMATCH_CASE(kLog)
    ACTMATCH_CASE(kSqrt)
    ACTMATCH_CASE(kReciprocal)
    ACTMATCH_CASE(kNeg)
    ACTMATCH_CASE(kAbs)
    ACTMATCH_CASE(kErf)
    ACTMATCH_CASE(kHardSigmoid)
    ACTMATCH_CASE(kHardSwish)
    ACTMATCH_CASE(kElu)
    ACTMATCH_CASE(kSoftplus)
    ACTMATCH_CASE(kFloor)
    ACTMATCH_CASE(kCeil)
    ACTMATCH_CASE(kRound)
    ACTMATCH_CASE(kSin)
    ACTMATCH_CASE(kCos)
    ACTMATCH_CASE(kTan)
    ACTMATCH_CASE(kAsin)
    ACTMATCH_CASE(kAcos)
    ACTMATCH_CASE(kAtan)
    ACTMATCH_CASE(kSinh)
    ACTMATCH_CASE(kCosh)
    ACTMATCH_CASE(kAsinh)
    ACTMATCH_CASE(kAcosh)
    ACTMATCH_CASE(kAtanh)
    ACTMATCH_CASE(kGelu)
    ACTMATCH_CASE(kGeluTanh)
    ACTMATCH_CASE(kNot)
    ACTMATCH_CASE(kIdentity)
#undef ACTMATCH_CASE
  }
  return cudaErrorInvalidValue;
}

}  // namespace

template <class T>
cudaError_t unary(cudaStream_t stream, T* y, const T* x, UnaryOp op, float alpha, float beta, int64_t count) {
  return dispatch(op, [&](auto constant) {
    return elementwise<pack_size<T>()>(stream, Forward<T, decltype(constant)::value>{y, x, {alpha, beta}}, count);
  });
}

cudaError_t logical_not(cudaStream_t stream, uint8_t* y, const uint8_t* x, int64_t count) {
  return elementwise<pack_size<uint8_t>()>(stream, Not{y, x}, count);
}

template <class T>
cudaError_t unary_backward(cudaStream_t stream, T* dx, const T* dy, const T* x, const T* y, UnaryOp op, float alpha, float beta,
                           int64_t count, bool accumulate) {
  return dispatch(op, [&](auto constant) {
    constexpr UnaryOp kOp = decltype(constant)::value;
    constexpr Saved kSaved = Function<kOp>::kSaved;
    if constexpr (kSaved != Saved::kNoDerivative) {
      const T* saved = kSaved == Saved::kInput ? x : kSaved == Saved::kOutput ? y : dy;
      return elementwise<pack_size<T>()>(stream, Backward<T, kOp>{dx, dy, saved, {alpha, beta}, accumulate}, count);
    } else {
      return cudaErrorInvalidValue;
    }
  });
}

#define ACTMATCH_INSTANTIATE(T)                                                              \
  template cudaError_t unary<T>(cudaStream_t, T*, const T*, UnaryOp, float, float, int64_t); \
  template cudaError_t unary_backward<T>(cudaStream_t, T*, const T*, const T*, const T*, UnaryOp, float, float, int64_t, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(bfloat16)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels::cuda
