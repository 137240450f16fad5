// Constant folding of operators that compute. Floats are computed in double and rounded once; integers wrap on overflow, as in NumPy.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <type_traits>

#include "engine/graph/op_rules.h"
#include "engine/graph/strided_walk.h"

namespace actmatch {
namespace {

double evaluate_unary_f64(const UnaryAttrs& a, double x) {
  const auto clip01 = [](double v) { return std::isnan(v) ? v : std::min(std::max(v, 0.0), 1.0); };
  switch (a.kind) {
    case UnaryKind::kRelu: return x < 0 ? 0 : x;
    case UnaryKind::kLeakyRelu: return x < 0 ? a.alpha * x : x;
    case UnaryKind::kClip: {
      const double v = x < a.alpha ? a.alpha : x;
      return v > a.beta ? a.beta : v;
    }
    case UnaryKind::kSigmoid: return 1 / (1 + std::exp(-x));
    case UnaryKind::kTanh: return std::tanh(x);
    case UnaryKind::kExp: return std::exp(x);
    case UnaryKind::kLog: return std::log(x);
    case UnaryKind::kSqrt: return std::sqrt(x);
    case UnaryKind::kReciprocal: return 1 / x;
    case UnaryKind::kNeg: return -x;
    case UnaryKind::kAbs: return std::fabs(x);
    case UnaryKind::kErf: return std::erf(x);
    case UnaryKind::kHardSigmoid: return clip01(static_cast<double>(a.alpha) * x + a.beta);
    case UnaryKind::kHardSwish: return x * clip01(x / 6 + 0.5);
    case UnaryKind::kElu: return x < 0 ? a.alpha * std::expm1(x) : x;
    case UnaryKind::kSoftplus: return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))) + (std::isnan(x) ? x : 0);
    case UnaryKind::kFloor: return std::floor(x);
    case UnaryKind::kCeil: return std::ceil(x);
    case UnaryKind::kRound: return std::nearbyint(x);
    case UnaryKind::kSin: return std::sin(x);
    case UnaryKind::kCos: return std::cos(x);
    case UnaryKind::kTan: return std::tan(x);
    case UnaryKind::kAsin: return std::asin(x);
    case UnaryKind::kAcos: return std::acos(x);
    case UnaryKind::kAtan: return std::atan(x);
    case UnaryKind::kSinh: return std::sinh(x);
    case UnaryKind::kCosh: return std::cosh(x);
    case UnaryKind::kAsinh: return std::asinh(x);
    case UnaryKind::kAcosh: return std::acosh(x);
    case UnaryKind::kAtanh: return std::atanh(x);
    case UnaryKind::kGelu: return x / 2 * (1 + std::erf(x / std::numbers::sqrt2));
    case UnaryKind::kGeluTanh: return x / 2 * (1 + std::tanh(std::numbers::sqrt2 * std::numbers::inv_sqrtpi * (x + 0.044715 * x * x * x)));
    case UnaryKind::kNot:
    case UnaryKind::kIdentity: break;
  }
  return x;
}

// Rounds toward zero; NaN gives 0 and what is out of range the nearest bound (C++ leaves both undefined).
int64_t to_i64(double x) {
  if (std::isnan(x)) return 0;
  if (x >= 0x1p63) return std::numeric_limits<int64_t>::max();
  if (x < -0x1p63) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(x);
}

int64_t wrap_neg(int64_t x) { return static_cast<int64_t>(-static_cast<uint64_t>(x)); }

int64_t evaluate_unary_i64(const UnaryAttrs& a, int64_t x) {
  switch (a.kind) {
    case UnaryKind::kRelu: return std::max<int64_t>(x, 0);
    case UnaryKind::kNeg: return wrap_neg(x);
    case UnaryKind::kAbs: return x < 0 ? wrap_neg(x) : x;
    case UnaryKind::kClip: return std::min(std::max(x, to_i64(a.alpha)), to_i64(a.beta));
    default: return x;
  }
}

int64_t power_i64(int64_t base, int64_t exponent) {
  if (exponent < 0) {  // truncated 1 / base^n
    if (base == 0) misfit("0 to the power " + std::to_string(exponent) + " in int64");
    return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  }
  uint64_t result = 1, factor = static_cast<uint64_t>(base);
  for (; exponent > 0; exponent >>= 1, factor *= factor)
    if (exponent & 1) result *= factor;
  return static_cast<int64_t>(result);
}

template <class T>
T arithmetic(BinaryKind kind, T a, T b) {
  if constexpr (std::is_same_v<T, int64_t>) {
    const auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
    switch (kind) {
      case BinaryKind::kAdd: return static_cast<int64_t>(ua + ub);
      case BinaryKind::kSub: return static_cast<int64_t>(ua - ub);
      case BinaryKind::kMul: return static_cast<int64_t>(ua * ub);
      case BinaryKind::kDiv:
        if (b == 0) misfit("division of " + std::to_string(a) + " by zero in int64");
        return b == -1 ? wrap_neg(a) : a / b;
      case BinaryKind::kPow: return power_i64(a, b);
      case BinaryKind::kMin: return std::min(a, b);
      default: return std::max(a, b);
    }
  } else {
    const double x = a, y = b;
    switch (kind) {
      case BinaryKind::kAdd: return static_cast<T>(x + y);
      case BinaryKind::kSub: return static_cast<T>(x - y);
      case BinaryKind::kMul: return static_cast<T>(x * y);
      case BinaryKind::kDiv: return static_cast<T>(x / y);
      case BinaryKind::kPow: return static_cast<T>(std::pow(x, y));
      case BinaryKind::kMin: return std::isnan(a) || a < b ? a : b;
      default: return std::isnan(a) || a > b ? a : b;
    }
  }
}

template <class T>
bool compare(BinaryKind kind, T a, T b) {
  switch (kind) {
    case BinaryKind::kEqual: return a == b;
    case BinaryKind::kLess: return a < b;
    case BinaryKind::kLessOrEqual: return a <= b;
    case BinaryKind::kGreater: return a > b;
    case BinaryKind::kGreaterOrEqual: return a >= b;
    case BinaryKind::kAnd: return a && b;
    default: return a || b;
  }
}

template <class In, class Out, class F>
void combine(const Tensor& a, const Tensor& b, Tensor& y, F f) {
  const In *pa = a.data<In>(), *pb = b.data<In>();
  Out* py = y.data<Out>();
  strided_walk<2>(y.shape(), {broadcast_strides(a.shape(), y.shape()), broadcast_strides(b.shape(), y.shape())}, {0, 0},
                  [&](int64_t i, const std::array<int64_t, 2>& at) { py[i] = static_cast<Out>(f(pa[at[0]], pb[at[1]])); });
}

template <class T, class F>
void map(const Tensor& x, Tensor& y, F f) {
  const T* px = x.data<T>();
  T* py = y.data<T>();
  for (int64_t i = 0; i < y.count(); ++i) py[i] = static_cast<T>(f(px[i]));
}

template <class T>
void select(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  const uint8_t* pc = condition.data<uint8_t>();
  const T *pa = a.data<T>(), *pb = b.data<T>();
  T* py = y.data<T>();
  const Shape& s = y.shape();
  strided_walk<3>(s, {broadcast_strides(condition.shape(), s), broadcast_strides(a.shape(), s), broadcast_strides(b.shape(), s)}, {0, 0, 0},
                  [&](int64_t i, const std::array<int64_t, 3>& at) { py[i] = pc[at[0]] ? pa[at[1]] : pb[at[2]]; });
}

template <class From, class To>
To convert(From x) {
  if constexpr (std::is_same_v<To, uint8_t>)
    return x != 0;
  else if constexpr (std::is_same_v<From, float> && std::is_same_v<To, int64_t>)
    return to_i64(x);
  else
    return static_cast<To>(x);
}

template <class From, class To>
void convert_all(const Tensor& x, Tensor& y) {
  for (int64_t i = 0; i < y.count(); ++i) y.data<To>()[i] = convert<From, To>(x.data<From>()[i]);
}

template <class From>
void convert_from(const Tensor& x, Tensor& y) {
  switch (y.dtype()) {
    case DType::kF32: return convert_all<From, float>(x, y);
    case DType::kI64: return convert_all<From, int64_t>(x, y);
    case DType::kBool: return convert_all<From, uint8_t>(x, y);
  }
}

template <class T, class Sum>
void reduce(const Tensor& x, const ReduceAttrs& attrs, Tensor& y) {
  Shape kept = x.shape();
  int64_t reduced_count = 1;
  for (int64_t axis : attrs.axes) {
    reduced_count *= kept[static_cast<size_t>(axis)];
    kept[static_cast<size_t>(axis)] = 1;
  }
  std::vector<Sum> total(static_cast<size_t>(y.count()), Sum{0});
  std::vector<bool> seen(total.size());
  const T* px = x.data<T>();
  strided_walk<1>(x.shape(), {broadcast_strides(kept, x.shape())}, {0}, [&](int64_t i, const std::array<int64_t, 1>& at) {
    const auto j = static_cast<size_t>(at[0]);
    const auto v = static_cast<Sum>(px[i]);
    switch (attrs.kind) {
      case ReduceKind::kSum:
      case ReduceKind::kMean: total[j] += v; break;
      case ReduceKind::kMax: total[j] = !seen[j] || v > total[j] || v != v ? v : total[j]; break;
      case ReduceKind::kMin: total[j] = !seen[j] || v < total[j] || v != v ? v : total[j]; break;
    }
    seen[j] = true;
  });
  T* py = y.data<T>();
  for (size_t j = 0; j < total.size(); ++j) {
    Sum v = total[j];
    if (attrs.kind == ReduceKind::kMean) {
      if constexpr (std::is_same_v<Sum, double>)
        v /= static_cast<double>(reduced_count);
      else
        v = static_cast<Sum>(static_cast<int64_t>(v) / reduced_count);
    }
    py[j] = static_cast<T>(v);
  }
}

}  // namespace

Tensor evaluate_unary(const Attributes& attrs, HostInputs inputs, const InferredValue& out) {
  const auto& a = std::get<UnaryAttrs>(attrs);
  if (a.kind == UnaryKind::kIdentity) return *inputs[0];
  Tensor y(out.dtype, out.shape);
  switch (out.dtype) {
    case DType::kF32: map<float>(*inputs[0], y, [&](float x) { return evaluate_unary_f64(a, x); }); break;
    case DType::kI64: map<int64_t>(*inputs[0], y, [&](int64_t x) { return evaluate_unary_i64(a, x); }); break;
    case DType::kBool: map<uint8_t>(*inputs[0], y, [](uint8_t x) { return !x; }); break;
  }
  return y;
}

Tensor evaluate_binary(const Attributes& attrs, HostInputs inputs, const InferredValue& out) {
  const BinaryKind kind = std::get<BinaryAttrs>(attrs).kind;
  const Tensor &a = *inputs[0], &b = *inputs[1];
  Tensor y(out.dtype, out.shape);
  if (kind <= BinaryKind::kMax) {
    if (a.dtype() == DType::kF32)
      combine<float, float>(a, b, y, [&](float p, float q) { return arithmetic(kind, p, q); });
    else
      combine<int64_t, int64_t>(a, b, y, [&](int64_t p, int64_t q) { return arithmetic(kind, p, q); });
    return y;
  }
  switch (a.dtype()) {
    case DType::kF32: combine<float, uint8_t>(a, b, y, [&](float p, float q) { return compare(kind, p, q); }); break;
    case DType::kI64: combine<int64_t, uint8_t>(a, b, y, [&](int64_t p, int64_t q) { return compare(kind, p, q); }); break;
    case DType::kBool: combine<uint8_t, uint8_t>(a, b, y, [&](uint8_t p, uint8_t q) { return compare(kind, p != 0, q != 0); }); break;
  }
  return y;
}

Tensor evaluate_where(const Attributes&, HostInputs inputs, const InferredValue& out) {
  Tensor y(out.dtype, out.shape);
  switch (out.dtype) {
    case DType::kF32: select<float>(*inputs[0], *inputs[1], *inputs[2], y); break;
    case DType::kI64: select<int64_t>(*inputs[0], *inputs[1], *inputs[2], y); break;
    case DType::kBool: select<uint8_t>(*inputs[0], *inputs[1], *inputs[2], y); break;
  }
  return y;
}

Tensor evaluate_cast(const Attributes&, HostInputs inputs, const InferredValue& out) {
  const Tensor& x = *inputs[0];
  if (x.dtype() == out.dtype) return x;
  Tensor y(out.dtype, out.shape);
  switch (x.dtype()) {
    case DType::kF32: convert_from<float>(x, y); break;
    case DType::kI64: convert_from<int64_t>(x, y); break;
    case DType::kBool: convert_from<uint8_t>(x, y); break;
  }
  return y;
}

Tensor evaluate_reduce(const Attributes& attrs, HostInputs inputs, const InferredValue& out) {
  const auto& a = std::get<ReduceAttrs>(attrs);
  Tensor y(out.dtype, out.shape);
  if (out.dtype == DType::kF32)
    reduce<float, double>(*inputs[0], a, y);
  else if (a.kind == ReduceKind::kSum || a.kind == ReduceKind::kMean)
    reduce<int64_t, uint64_t>(*inputs[0], a, y);
  else
    reduce<int64_t, int64_t>(*inputs[0], a, y);
  return y;
}

namespace {

// Positions along the axis, the wanted ones first.
template <class T>
void order_positions(const T* x, int64_t extent, int64_t stride, const TopKAttrs& a, std::vector<int64_t>& order) {
  order.resize(static_cast<size_t>(extent));
  for (int64_t i = 0; i < extent; ++i) order[static_cast<size_t>(i)] = a.last_first ? extent - 1 - i : i;
  const auto larger = [&](int64_t i, int64_t j) {
    const T p = x[i * stride], q = x[j * stride];
    return p > q || (p != p && q == q);
  };
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return a.largest ? larger(i, j) : larger(j, i); });
}

template <class T>
void top_k(const Tensor& x, const TopKAttrs& a, Tensor& y) {
  const auto axis = static_cast<size_t>(a.axis);
  const int64_t extent = x.shape()[axis], stride = row_major_strides(x.shape())[axis];
  std::vector<int64_t> order;
  if (y.count() == 0) return;
  for (int64_t line = 0; line < x.count() / extent; ++line) {
    const int64_t outer = line / stride, inner = line % stride;
    order_positions(x.data<T>() + outer * extent * stride + inner, extent, stride, a, order);
    for (int64_t i = 0; i < a.k; ++i) y.data<int64_t>()[(outer * a.k + i) * stride + inner] = order[static_cast<size_t>(i)];
  }
}

}  // namespace

Tensor evaluate_top_k(const Attributes& attrs, HostInputs inputs, const InferredValue& out) {
  const auto& a = std::get<TopKAttrs>(attrs);
  Tensor y(out.dtype, out.shape);
  if (inputs[0]->dtype() == DType::kF32)
    top_k<float>(*inputs[0], a, y);
  else
    top_k<int64_t>(*inputs[0], a, y);
  return y;
}

Tensor evaluate_softmax(const Attributes& attrs, HostInputs inputs, const InferredValue& out) {
  const auto& a = std::get<SoftmaxAttrs>(attrs);
  const auto axis = static_cast<size_t>(a.axis);
  Tensor y(out.dtype, out.shape);
  const float* x = inputs[0]->data<float>();
  float* py = y.data<float>();
  const int64_t extent = out.shape[axis], stride = row_major_strides(out.shape)[axis];
  for (int64_t first = 0; first < y.count(); ++first) {
    if (first / stride % extent != 0) continue;
    double largest = x[first], sum = 0;
    for (int64_t i = 1; i < extent; ++i) largest = std::max<double>(largest, x[first + i * stride]);
    for (int64_t i = 0; i < extent; ++i) sum += std::exp(x[first + i * stride] - largest);
    for (int64_t i = 0; i < extent; ++i) {
      const double shifted = x[first + i * stride] - largest;
      py[first + i * stride] = static_cast<float>(a.log ? shifted - std::log(sum) : std::exp(shifted) / sum);
    }
  }
  return y;
}

Tensor evaluate_mat_mul(const Attributes& attrs, HostInputs inputs, const InferredValue& out) {
  const auto& attr = std::get<MatMulAttrs>(attrs);
  const Tensor &a = *inputs[0], &b = *inputs[1];
  const size_t rank_a = a.shape().size(), rank_b = b.shape().size(), rank = out.shape.size();
  const int64_t k = a.shape()[rank_a - (attr.transpose_a ? 2 : 1)];
  std::vector<int64_t> stride_a = broadcast_strides(a.shape(), out.shape), stride_b = broadcast_strides(b.shape(), out.shape);
  const int64_t last_a = a.shape()[rank_a - 1], last_b = b.shape()[rank_b - 1];
  stride_a[rank - 2] = attr.transpose_a ? 1 : last_a;
  stride_a[rank - 1] = 0;
  stride_b[rank - 2] = 0;
  stride_b[rank - 1] = attr.transpose_b ? last_b : 1;
  const int64_t step_a = attr.transpose_a ? last_a : 1, step_b = attr.transpose_b ? 1 : last_b;
  Tensor y(out.dtype, out.shape);
  const float *pa = a.data<float>(), *pb = b.data<float>();
  const float* bias = inputs.size() > 2 && inputs[2] ? inputs[2]->data<float>() : nullptr;
  float* py = y.data<float>();
  strided_walk<2>(out.shape, {stride_a, stride_b}, {0, 0}, [&](int64_t i, const std::array<int64_t, 2>& at) {
    double sum = bias ? bias[i % out.shape[rank - 1]] : 0;
    for (int64_t j = 0; j < k; ++j) sum += static_cast<double>(pa[at[0] + j * step_a]) * pb[at[1] + j * step_b];
    py[i] = static_cast<float>(sum);
  });
  return y;
}

}  // namespace actmatch
