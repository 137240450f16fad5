// Activation functions that are composed of others.
#include <cmath>
#include <limits>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {

// max(x, 0) + min(0, alpha (exp(x / alpha) - 1))
void lower_celu(NodeContext& c) {
  const ValueId x = c.input(0), alpha = c.scalar(c.attributes.number("alpha", 1.0f));
  const ValueId scaled = c.step(UnaryAttrs{UnaryKind::kElu, 1.0f}, {divide(c, x, alpha)});
  c.result(BinaryAttrs{BinaryKind::kMul}, {scaled, alpha});
}

void lower_thresholded_relu(NodeContext& c) {
  const ValueId x = c.input(0);
  const ValueId above = binary(c, BinaryKind::kGreater, x, c.scalar(c.attributes.number("alpha", 1.0f)));
  c.result(WhereAttrs{}, {above, x, c.scalar(0.0f)});
}

// x / (1 + |x|)
void lower_softsign(NodeContext& c) {
  const ValueId x = c.input(0);
  c.result(BinaryAttrs{BinaryKind::kDiv}, {x, add(c, unary(c, UnaryKind::kAbs, x), c.scalar(1.0f))});
}

// x + bias below -lambd, x - bias above lambd, 0 between them.
void lower_shrink(NodeContext& c) {
  const ValueId given = c.input(0), x = c.cast(given, DType::kF32);
  const ValueId bias = c.scalar(c.attributes.number("bias", 0.0f));
  const float lambd = c.attributes.number("lambd", 0.5f);
  const ValueId above = binary(c, BinaryKind::kGreater, x, c.scalar(lambd)), below = binary(c, BinaryKind::kLess, x, c.scalar(-lambd));
  const ValueId shrunk = where(c, above, subtract(c, x, bias), where(c, below, add(c, x, bias), c.scalar(0.0f)));
  c.alias(c.cast(shrunk, c.dtype(given)));
}

namespace {

// x sigmoid(alpha x)
ValueId swish(NodeContext& c, ValueId x) {
  const float alpha = c.attributes.number("alpha", 1.0f);
  const ValueId argument = alpha == 1.0f ? x : multiply(c, x, c.scalar(alpha));
  return multiply(c, x, unary(c, UnaryKind::kSigmoid, argument));
}

}  // namespace

void lower_swish(NodeContext& c) { c.alias(swish(c, c.input(0))); }

void lower_swiglu(NodeContext& c) { c.result(BinaryAttrs{BinaryKind::kMul}, {swish(c, c.input(0)), c.input(1)}); }

// 1 for positive, -1 for negative values.
void lower_sign(NodeContext& c) {
  const ValueId x = c.input(0), zero = scalar_like(c, x, 0);
  const ValueId positive = c.cast(binary(c, BinaryKind::kGreater, x, zero), c.dtype(x));
  c.result(BinaryAttrs{BinaryKind::kSub}, {positive, c.cast(binary(c, BinaryKind::kLess, x, zero), c.dtype(x))});
}

// Only what is not a number differs from itself.
void lower_is_nan(NodeContext& c) { c.result(UnaryAttrs{UnaryKind::kNot}, {binary(c, BinaryKind::kEqual, c.input(0), c.input(0))}); }

void lower_is_inf(NodeContext& c) {
  const bool negative = c.attributes.flag("detect_negative", true), positive = c.attributes.flag("detect_positive", true);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const ValueId x = c.input(0);
  if (!negative && !positive) {
    const ValueId unequal = c.step(UnaryAttrs{UnaryKind::kNot}, {binary(c, BinaryKind::kEqual, c.scalar(0.0f), c.scalar(0.0f))});
    return c.result(ExpandAttrs{c.shape(x)}, {unequal});
  }
  if (negative && positive) return c.result(BinaryAttrs{BinaryKind::kEqual}, {unary(c, UnaryKind::kAbs, x), c.scalar(kInfinity)});
  c.result(BinaryAttrs{BinaryKind::kEqual}, {x, c.scalar(positive ? kInfinity : -kInfinity)});
}

}  // namespace actmatch::onnx_import
