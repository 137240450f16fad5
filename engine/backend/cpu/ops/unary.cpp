// Elementwise functions of one argument, in the layout of the input. In a padded layout the padding has to stay zero, so functions with
// f(0) != 0 run row-major there.
#include <cmath>
#include <cstring>

#include "engine/backend/cpu/loops.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/graph/op_table.h"

namespace actmatch::cpu {

namespace {

struct Params {
  float alpha, beta;
};

ACTMATCH_INLINE float gelu_curve(float x) { return vector_math::tanh(0.79788456f * (x + 0.044715f * x * x * x)); }

// y = f(x) and the derivative, from that of x and y which the op table says is kept. At a kink: the flat side's.
template <UnaryKind kind>
struct Function;
#define ACTMATCH_UNARY(KIND, VALUE, DERIVATIVE)                                                                              \
  template <>                                                                                                                \
  struct Function<UnaryKind::KIND> {                                                                                         \
    ACTMATCH_INLINE static float value([[maybe_unused]] float x, [[maybe_unused]] Params p) { return VALUE; }                \
    ACTMATCH_INLINE static float derivative([[maybe_unused]] float x, [[maybe_unused]] float y, [[maybe_unused]] Params p) { \
      return DERIVATIVE;                                                                                                     \
    }                                                                                                                        \
  };
ACTMATCH_UNARY(kRelu, x > 0.0f ? x : 0.0f, y > 0.0f ? 1.0f : 0.0f)
ACTMATCH_UNARY(kLeakyRelu, x >= 0.0f ? x : p.alpha * x, x > 0.0f ? 1.0f : p.alpha)
ACTMATCH_UNARY(kClip, std::min(std::max(x, p.alpha), p.beta), x > p.alpha && x < p.beta ? 1.0f : 0.0f)
ACTMATCH_UNARY(kSigmoid, vector_math::sigmoid(x), y*(1.0f - y))
ACTMATCH_UNARY(kTanh, vector_math::tanh(x), 1.0f - y * y)
ACTMATCH_UNARY(kExp, vector_math::exp(x), y)
ACTMATCH_UNARY(kLog, std::log(x), 1.0f / x)
ACTMATCH_UNARY(kSqrt, std::sqrt(x), 0.5f / y)
ACTMATCH_UNARY(kReciprocal, 1.0f / x, -y* y)
ACTMATCH_UNARY(kNeg, -x, -1.0f)
ACTMATCH_UNARY(kAbs, std::fabs(x), x > 0.0f ? 1.0f : (x < 0.0f ? -1.0f : 0.0f))
ACTMATCH_UNARY(kErf, vector_math::erf(x), 1.1283791671f * vector_math::exp(-x * x))
ACTMATCH_UNARY(kHardSigmoid, std::min(std::max(p.alpha* x + p.beta, 0.0f), 1.0f),
               p.alpha* x + p.beta > 0.0f && p.alpha * x + p.beta < 1.0f ? p.alpha : 0.0f)
ACTMATCH_UNARY(kHardSwish, x* std::min(std::max(x / 6.0f + 0.5f, 0.0f), 1.0f), x <= -3.0f ? 0.0f : (x >= 3.0f ? 1.0f : x / 3.0f + 0.5f))
ACTMATCH_UNARY(kElu, x > 0.0f ? x : p.alpha * vector_math::expm1_of_negative(x), x > 0.0f ? 1.0f : p.alpha * vector_math::exp(x))
ACTMATCH_UNARY(kSoftplus, vector_math::softplus(x), vector_math::sigmoid(x))
ACTMATCH_UNARY(kFloor, std::floor(x), 0.0f)
ACTMATCH_UNARY(kCeil, std::ceil(x), 0.0f)
ACTMATCH_UNARY(kRound, std::nearbyint(x), 0.0f)
ACTMATCH_UNARY(kSin, std::sin(x), std::cos(x))
ACTMATCH_UNARY(kCos, std::cos(x), -std::sin(x))
ACTMATCH_UNARY(kTan, std::tan(x), 1.0f / (std::cos(x) * std::cos(x)))
ACTMATCH_UNARY(kAsin, std::asin(x), 1.0f / std::sqrt((1.0f - x) * (1.0f + x)))
ACTMATCH_UNARY(kAcos, std::acos(x), -1.0f / std::sqrt((1.0f - x) * (1.0f + x)))
ACTMATCH_UNARY(kAtan, std::atan(x), 1.0f / (1.0f + x * x))
ACTMATCH_UNARY(kSinh, std::sinh(x), std::cosh(x))
ACTMATCH_UNARY(kCosh, std::cosh(x), std::sinh(x))
ACTMATCH_UNARY(kAsinh, std::asinh(x), 1.0f / std::sqrt(x * x + 1.0f))
ACTMATCH_UNARY(kAcosh, std::acosh(x), 1.0f / std::sqrt((x - 1.0f) * (x + 1.0f)))
ACTMATCH_UNARY(kAtanh, std::atanh(x), 1.0f / ((1.0f - x) * (1.0f + x)))
ACTMATCH_UNARY(kGelu, 0.5f * x * (1.0f + vector_math::erf(0.70710678f * x)),
               0.5f * (1.0f + vector_math::erf(0.70710678f * x)) + 0.39894228f * x * vector_math::exp(-0.5f * x * x))
ACTMATCH_UNARY(kGeluTanh, 0.5f * x * (1.0f + gelu_curve(x)),
               0.5f * (1.0f + gelu_curve(x)) * (1.0f + x * (1.0f - gelu_curve(x)) * (0.79788456f + 0.10703222f * x * x)))
ACTMATCH_UNARY(kIdentity, x, 1.0f)
#undef ACTMATCH_UNARY

template <class F>
void dispatch(UnaryKind kind, const F& f) {
  switch (kind) {
#define ACTMATCH_CASE(KIND) \
  case UnaryKind::KIND: f(Function<UnaryKind::KIND>{}); return;
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
    ACTMATCH_CASE(kIdentity)
#undef ACTMATCH_CASE
    case UnaryKind::kNot: return;  // bool only
  }
}

// The loops by themselves, so that there is one for each instruction set.
template <class F>
ACTMATCH_MULTIVERSION void apply(float* y, const float* x, int64_t n, Params p) {
  for (int64_t i = 0; i < n; ++i) y[i] = F::value(x[i], p);
}
template <class F>
ACTMATCH_MULTIVERSION void apply_backward(float* dx, const float* dy, const float* x, const float* y, int64_t n, Params p,
                                          bool accumulate) {
  if (accumulate)
    for (int64_t i = 0; i < n; ++i) dx[i] += dy[i] * F::derivative(x[i], y[i], p);
  else
    for (int64_t i = 0; i < n; ++i) dx[i] = dy[i] * F::derivative(x[i], y[i], p);
}

bool keeps_zero(const UnaryAttrs& a) {
  switch (a.kind) {
    case UnaryKind::kClip: return a.alpha <= 0.0f && a.beta >= 0.0f;
    case UnaryKind::kSigmoid:
    case UnaryKind::kExp:
    case UnaryKind::kLog:
    case UnaryKind::kReciprocal:
    case UnaryKind::kHardSigmoid:
    case UnaryKind::kSoftplus:
    case UnaryKind::kCos:
    case UnaryKind::kAcos:
    case UnaryKind::kCosh:
    case UnaryKind::kAcosh: return false;
    default: return true;
  }
}

// The derivative at the zeros of the padding must not be infinite or NaN times zero either.
bool backward_keeps_zero(const UnaryAttrs& a) { return keeps_zero(a) && a.kind != UnaryKind::kSqrt; }

class UnaryStep : public Step {
 public:
  explicit UnaryStep(Lowering& l) : attrs_(std::get<UnaryAttrs>(l.node().attrs)) {
    Slot* x = l.input(0);
    x_ = x->dtype != DType::kF32 || unpadded(*x) || backward_keeps_zero(attrs_) ? x : l.input_plain(0);
    y_ = l.output(x_->desc);
    reads = {x_};
    writes = {y_};
    if (l.wants(0)) {
      dx_.slot = x_;
      grads = {&dx_};
      const BackwardNeeds needs = op_info(OpKind::kUnary).needs(attrs_, {true});
      if (needs.inputs[0]) backward_reads.push_back(x_);
      if (needs.output) backward_reads.push_back(y_);
    }
  }
  void forward() override {
    if (attrs_.kind == UnaryKind::kIdentity) {
      std::memcpy(y_->data, x_->data, y_->bytes);
      return;
    }
    if (attrs_.kind == UnaryKind::kNot) {
      for (size_t i = 0; i < y_->bytes; ++i) y_->data[i] = static_cast<std::byte>(x_->data[i] == std::byte{0});
      return;
    }
    const Params p{attrs_.alpha, attrs_.beta};
    dispatch(attrs_.kind, [&](auto f) {
      const float* x = x_->f32();
      float* y = y_->f32();
      parallel_ranges(static_cast<int64_t>(y_->floats()), kGrain,
                      [=](int64_t b, int64_t e) { apply<decltype(f)>(y + b, x + b, e - b, p); });
    });
  }
  void backward() override {
    const Params p{attrs_.alpha, attrs_.beta};
    dispatch(attrs_.kind, [&](auto f) {
      const float *x = x_->f32(), *y = y_->f32(), *dy = y_->grad;
      float* dx = x_->grad;
      const bool accumulate = dx_.accumulate;
      parallel_ranges(static_cast<int64_t>(y_->floats()), kGrain,
                      [=](int64_t b, int64_t e) { apply_backward<decltype(f)>(dx + b, dy + b, x + b, y + b, e - b, p, accumulate); });
    });
  }

 private:
  UnaryAttrs attrs_;
  Slot *x_ = nullptr, *y_ = nullptr;
  GradTarget dx_;
};

struct Swish {
  ACTMATCH_INLINE static float value(float x, Params) { return x * vector_math::sigmoid(x); }
  ACTMATCH_INLINE static float derivative(float x, float, Params) {
    const float s = vector_math::sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
  }
};

class SwishStep : public Step {
 public:
  SwishStep(Lowering& l, size_t x) : x_(l.input(x)), y_(l.output(x_->desc)) {
    reads = {x_};
    writes = {y_};
    if (!l.wants(x)) return;
    dx_.slot = x_;
    grads = {&dx_};
    backward_reads = {x_};
  }
  void forward() override {
    const float* x = x_->f32();
    float* y = y_->f32();
    parallel_ranges(static_cast<int64_t>(y_->floats()), kGrain, [=](int64_t b, int64_t e) { apply<Swish>(y + b, x + b, e - b, {}); });
  }
  void backward() override {
    const float *x = x_->f32(), *dy = y_->grad;
    float* dx = x_->grad;
    parallel_ranges(static_cast<int64_t>(y_->floats()), kGrain, [=, accumulate = dx_.accumulate](int64_t b, int64_t e) {
      apply_backward<Swish>(dx + b, dy + b, x + b, x + b, e - b, {}, accumulate);
    });
  }
  std::string implementation() const override { return "swish"; }

 private:
  Slot *x_, *y_;
  GradTarget dx_;
};

}  // namespace

void build_swish(Lowering& l, size_t x) { l.add_step(std::make_unique<SwishStep>(l, x)); }

void build_unary(Lowering& l) {
  const bool integers = l.graph().value(l.node().output).dtype == DType::kI64;
  if (integers && std::get<UnaryAttrs>(l.node().attrs).kind != UnaryKind::kIdentity) return build_on_host(l);
  l.add_step(std::make_unique<UnaryStep>(l));
}

}  // namespace actmatch::cpu
