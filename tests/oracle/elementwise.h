// Operators that work element by element. At a kink the derivative is that of the flat side (relu, clip, abs: 0); min and max share a tie.
#pragma once

#include <algorithm>
#include <cmath>

#include "engine/graph/op.h"
#include "tests/oracle/array.h"

namespace actmatch::oracle {

template <class T>
T unary_value(const UnaryAttrs& u, T x) {
  const T alpha = u.alpha, beta = u.beta, one = 1;
  switch (u.kind) {
    case UnaryKind::kRelu: return x > 0 ? x : T(0);
    case UnaryKind::kLeakyRelu: return x > 0 ? x : alpha * x;
    case UnaryKind::kClip: return x < alpha ? alpha : x > beta ? beta : x;
    case UnaryKind::kSigmoid: return one / (one + std::exp(-x));
    case UnaryKind::kTanh: return std::tanh(x);
    case UnaryKind::kExp: return std::exp(x);
    case UnaryKind::kLog: return std::log(x);
    case UnaryKind::kSqrt: return std::sqrt(x);
    case UnaryKind::kReciprocal: return one / x;
    case UnaryKind::kNeg: return -x;
    case UnaryKind::kAbs: return std::abs(x);
    case UnaryKind::kErf: return std::erf(x);
    case UnaryKind::kHardSigmoid: return std::clamp(alpha * x + beta, T(0), one);
    case UnaryKind::kHardSwish: return x * std::clamp(x / 6 + one / 2, T(0), one);
    case UnaryKind::kElu: return x > 0 ? x : alpha * (std::exp(x) - one);
    case UnaryKind::kSoftplus: return x > 30 ? x : std::log(one + std::exp(x));
    case UnaryKind::kFloor: return std::floor(x);
    case UnaryKind::kCeil: return std::ceil(x);
    case UnaryKind::kRound: {
      const T low = std::floor(x), rest = x - low;
      return rest < one / 2 || (rest == one / 2 && std::fmod(low, T(2)) == 0) ? low : low + one;
    }
    case UnaryKind::kSin: return std::sin(x);
    case UnaryKind::kCos: return std::cos(x);
    case UnaryKind::kTan: return std::sin(x) / std::cos(x);
    case UnaryKind::kAsin: return std::asin(x);
    case UnaryKind::kAcos: return std::acos(x);
    case UnaryKind::kAtan: return std::atan(x);
    case UnaryKind::kSinh: return (std::exp(x) - std::exp(-x)) / 2;
    case UnaryKind::kCosh: return (std::exp(x) + std::exp(-x)) / 2;
    case UnaryKind::kAsinh: return x < 0 ? -std::log(-x + std::sqrt(x * x + one)) : std::log(x + std::sqrt(x * x + one));
    case UnaryKind::kAcosh: return std::log(x + std::sqrt(x * x - one));
    case UnaryKind::kAtanh: return std::log((one + x) / (one - x)) / 2;
    case UnaryKind::kGelu: return x / 2 * (one + std::erf(x / std::sqrt(T(2))));
    case UnaryKind::kGeluTanh: return x / 2 * (one + std::tanh(std::sqrt(2 / std::acos(-one)) * (x + T(0.044715) * x * x * x)));
    case UnaryKind::kNot: return x == 0 ? one : T(0);
    case UnaryKind::kIdentity: return x;
  }
  throw std::logic_error("unknown unary operator");
}

template <class T>
T unary_derivative(const UnaryAttrs& u, T x) {
  const T alpha = u.alpha, beta = u.beta, one = 1;
  switch (u.kind) {
    case UnaryKind::kRelu: return x > 0 ? one : T(0);
    case UnaryKind::kLeakyRelu: return x > 0 ? one : alpha;
    case UnaryKind::kClip: return x > alpha && x < beta ? one : T(0);
    case UnaryKind::kSigmoid: return std::exp(-x) / ((one + std::exp(-x)) * (one + std::exp(-x)));
    case UnaryKind::kTanh: return one / (std::cosh(x) * std::cosh(x));
    case UnaryKind::kExp: return std::exp(x);
    case UnaryKind::kLog: return one / x;
    case UnaryKind::kSqrt: return one / (2 * std::sqrt(x));
    case UnaryKind::kReciprocal: return -one / (x * x);
    case UnaryKind::kNeg: return -one;
    case UnaryKind::kAbs: return x > 0 ? one : x < 0 ? -one : T(0);
    case UnaryKind::kErf: return 2 / std::sqrt(std::acos(-one)) * std::exp(-x * x);
    case UnaryKind::kHardSigmoid: return alpha * x + beta > 0 && alpha * x + beta < 1 ? alpha : T(0);
    case UnaryKind::kHardSwish: return x <= -3 ? T(0) : x >= 3 ? one : x / 3 + one / 2;
    case UnaryKind::kElu: return x > 0 ? one : alpha * std::exp(x);
    case UnaryKind::kSoftplus: return one / (one + std::exp(-x));
    case UnaryKind::kIdentity: return one;
    case UnaryKind::kSin: return std::cos(x);
    case UnaryKind::kCos: return -std::sin(x);
    case UnaryKind::kTan: return one / (std::cos(x) * std::cos(x));
    case UnaryKind::kAsin: return one / std::sqrt(one - x * x);
    case UnaryKind::kAcos: return -one / std::sqrt(one - x * x);
    case UnaryKind::kAtan: return one / (one + x * x);
    case UnaryKind::kSinh: return std::cosh(x);
    case UnaryKind::kCosh: return std::sinh(x);
    case UnaryKind::kAsinh: return one / std::sqrt(x * x + one);
    case UnaryKind::kAcosh: return one / std::sqrt(x * x - one);
    case UnaryKind::kAtanh: return one / (one - x * x);
    case UnaryKind::kGelu: return (one + std::erf(x / std::sqrt(T(2)))) / 2 + x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-one));
    case UnaryKind::kGeluTanh: {
      const T slope = std::sqrt(2 / std::acos(-one)), cubic = T(0.044715), t = std::tanh(slope * (x + cubic * x * x * x));
      return (one + t) / 2 + x / 2 * (one - t * t) * slope * (one + 3 * cubic * x * x);
    }
    case UnaryKind::kRound:
    case UnaryKind::kFloor:
    case UnaryKind::kCeil:
    case UnaryKind::kNot: break;
  }
  throw std::logic_error("this unary operator has no derivative");
}

inline bool has_derivative(UnaryKind kind) {
  return kind != UnaryKind::kFloor && kind != UnaryKind::kCeil && kind != UnaryKind::kRound && kind != UnaryKind::kNot;
}
inline bool has_derivative(BinaryKind kind) {
  return kind == BinaryKind::kAdd || kind == BinaryKind::kSub || kind == BinaryKind::kMul || kind == BinaryKind::kDiv ||
         kind == BinaryKind::kPow || kind == BinaryKind::kMin || kind == BinaryKind::kMax;
}

template <class T>
T binary_value(BinaryKind kind, T a, T b) {
  switch (kind) {
    case BinaryKind::kAdd: return a + b;
    case BinaryKind::kSub: return a - b;
    case BinaryKind::kMul: return a * b;
    case BinaryKind::kDiv: return a / b;
    case BinaryKind::kPow: return std::pow(a, b);
    case BinaryKind::kMin: return a < b ? a : b;
    case BinaryKind::kMax: return a < b ? b : a;
    case BinaryKind::kEqual: return a == b;
    case BinaryKind::kLess: return a < b;
    case BinaryKind::kLessOrEqual: return a <= b;
    case BinaryKind::kGreater: return a > b;
    case BinaryKind::kGreaterOrEqual: return a >= b;
    case BinaryKind::kAnd: return a != 0 && b != 0;
    case BinaryKind::kOr: return a != 0 || b != 0;
  }
  throw std::logic_error("unknown binary operator");
}

// d/da and d/db.
template <class T>
std::pair<T, T> binary_derivatives(BinaryKind kind, T a, T b) {
  const T one = 1, half = T(1) / 2;
  switch (kind) {
    case BinaryKind::kAdd: return {one, one};
    case BinaryKind::kSub: return {one, -one};
    case BinaryKind::kMul: return {b, a};
    case BinaryKind::kDiv: return {one / b, -a / (b * b)};
    case BinaryKind::kPow: return {b == 0 ? T(0) : b * std::pow(a, b - 1), a == 0 ? T(0) : std::pow(a, b) * std::log(a)};
    case BinaryKind::kMin:
      if (a == b) return {half, half};
      return a < b ? std::pair(one, T(0)) : std::pair(T(0), one);
    case BinaryKind::kMax:
      if (a == b) return {half, half};
      return a > b ? std::pair(one, T(0)) : std::pair(T(0), one);
    default: throw std::logic_error("this binary operator has no derivative");
  }
}

template <class T>
Array<T> forward_of(const UnaryAttrs& u, const Operands<T>& in) {
  Array<T> y = like(*in[0]);
  for (int64_t i = 0; i < y.count(); ++i) y[i] = unary_value(u, (*in[0])[i]);
  return y;
}
template <class T>
Gradients<T> backward_of(const UnaryAttrs& u, const Operands<T>& in, const Array<T>&, const Array<T>& dy) {
  Gradients<T> d(1);
  if (!has_derivative(u.kind)) return d;
  d[0] = like(dy);
  for (int64_t i = 0; i < dy.count(); ++i) d[0][i] = dy[i] * unary_derivative(u, (*in[0])[i]);
  return d;
}

template <class T>
Array<T> forward_of(const BinaryAttrs& attrs, const Operands<T>& in) {
  const Array<T>&a = *in[0], &b = *in[1];
  Array<T> y(broadcast(a.shape, b.shape));
  each_index(y.shape, [&](const Index& i) {
    y.at(i) = binary_value(attrs.kind, a.at(broadcast_index(i, a.shape)), b.at(broadcast_index(i, b.shape)));
  });
  return y;
}
template <class T>
Gradients<T> backward_of(const BinaryAttrs& attrs, const Operands<T>& in, const Array<T>&, const Array<T>& dy) {
  Gradients<T> d(2);
  if (!has_derivative(attrs.kind)) return d;
  const Array<T>&a = *in[0], &b = *in[1];
  d = {like(a), like(b)};
  each_index(dy.shape, [&](const Index& i) {
    const Index ia = broadcast_index(i, a.shape), ib = broadcast_index(i, b.shape);
    const auto [da, db] = binary_derivatives(attrs.kind, a.at(ia), b.at(ib));
    d[0].at(ia) += dy.at(i) * da;
    d[1].at(ib) += dy.at(i) * db;
  });
  return d;
}

template <class T>
Array<T> forward_of(const WhereAttrs&, const Operands<T>& in) {
  Array<T> y(broadcast(in[0]->shape, broadcast(in[1]->shape, in[2]->shape)));
  each_index(y.shape, [&](const Index& i) {
    const Array<T>& chosen = in[0]->at(broadcast_index(i, in[0]->shape)) != 0 ? *in[1] : *in[2];
    y.at(i) = chosen.at(broadcast_index(i, chosen.shape));
  });
  return y;
}
template <class T>
Gradients<T> backward_of(const WhereAttrs&, const Operands<T>& in, const Array<T>&, const Array<T>& dy) {
  Gradients<T> d{Array<T>(), like(*in[1]), like(*in[2])};
  each_index(dy.shape, [&](const Index& i) {
    Array<T>& chosen = in[0]->at(broadcast_index(i, in[0]->shape)) != 0 ? d[1] : d[2];
    chosen.at(broadcast_index(i, chosen.shape)) += dy.at(i);
  });
  return d;
}

template <class T>
Array<T> forward_of(const ScaleShiftAttrs&, const Operands<T>& in) {
  Array<T> y = like(*in[0]);
  each_index(y.shape, [&](const Index& i) { y.at(i) = in[0]->at(i) * (*in[1])[i[1]] + (*in[2])[i[1]]; });
  return y;
}
template <class T>
Gradients<T> backward_of(const ScaleShiftAttrs&, const Operands<T>& in, const Array<T>&, const Array<T>& dy) {
  Gradients<T> d(3);
  d[0] = like(dy);
  each_index(dy.shape, [&](const Index& i) { d[0].at(i) = dy.at(i) * (*in[1])[i[1]]; });
  return d;
}

// Frozen statistics: x, gamma, beta, mean, variance.
template <class T>
Array<T> forward_of(const BatchNormAttrs& a, const Operands<T>& in) {
  Array<T> y = like(*in[0]);
  each_index(y.shape, [&](const Index& i) {
    const int64_t c = i[1];
    y.at(i) = (in[0]->at(i) - (*in[3])[c]) / std::sqrt((*in[4])[c] + static_cast<T>(a.epsilon)) * (*in[1])[c] + (*in[2])[c];
  });
  return y;
}
template <class T>
Gradients<T> backward_of(const BatchNormAttrs& a, const Operands<T>& in, const Array<T>&, const Array<T>& dy) {
  Gradients<T> d(5);
  d[0] = like(dy);
  each_index(dy.shape,
             [&](const Index& i) { d[0].at(i) = dy.at(i) * (*in[1])[i[1]] / std::sqrt((*in[4])[i[1]] + static_cast<T>(a.epsilon)); });
  return d;
}

template <class T>
Array<T> forward_of(const CastAttrs& a, const Operands<T>& in) {
  Array<T> y = *in[0];
  for (T& v : y.data) v = a.to == DType::kI64 ? std::trunc(v) : a.to == DType::kBool ? T(v != 0) : v;
  return y;
}
template <class T>
Gradients<T> backward_of(const CastAttrs& a, const Operands<T>&, const Array<T>&, const Array<T>& dy) {
  Gradients<T> d(1);
  if (a.to == DType::kF32) d[0] = dy;
  return d;
}

}  // namespace actmatch::oracle
