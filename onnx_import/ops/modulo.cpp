#include <limits>

#include "onnx_import/initializers.h"
#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

// a - trunc(a / b) b; division of integers truncates.
ValueId remainder(NodeContext& c, ValueId a, ValueId b) {
  ValueId quotient = divide(c, a, b);
  if (c.dtype(a) == DType::kF32) {
    const ValueId size = unary(c, UnaryKind::kFloor, unary(c, UnaryKind::kAbs, quotient));
    const ValueId negative = binary(c, BinaryKind::kLess, quotient, c.scalar(0.0f));
    quotient = where(c, negative, unary(c, UnaryKind::kNeg, size), size);
  }
  return subtract(c, a, multiply(c, quotient, b));
}

}  // namespace

// The sign of the divisor, or with fmod=1 that of the dividend.
void lower_mod(NodeContext& c) {
  const ValueId a = c.input(0), b = c.input(1);
  const bool truncate = c.attributes.flag("fmod", false);
  if (c.dtype(a) != DType::kF32) return c.alias(truncate ? remainder(c, a, b) : remainder(c, add(c, remainder(c, a, b), b), b));
  const ValueId y = truncate ? remainder(c, a, b) : subtract(c, a, multiply(c, unary(c, UnaryKind::kFloor, divide(c, a, b)), b));
  const Tensor* divisors = c.constant(b);
  if (divisors && find_non_finite(*divisors, true) < 0) return c.alias(y);
  // An infinite divisor leaves the dividend as it is, or where their signs must agree and do not, takes its place.
  const ValueId infinite = binary(c, BinaryKind::kEqual, unary(c, UnaryKind::kAbs, b), c.scalar(std::numeric_limits<float>::infinity()));
  const ValueId finite = binary(c, BinaryKind::kLess, unary(c, UnaryKind::kAbs, a), c.scalar(std::numeric_limits<float>::infinity()));
  const ValueId opposed = binary(c, BinaryKind::kLess, multiply(c, a, b), c.scalar(0.0f));
  const ValueId taken = truncate ? a : where(c, opposed, b, a);
  c.result(WhereAttrs{}, {binary(c, BinaryKind::kAnd, infinite, finite), taken, y});
}

// True where exactly one is.
void lower_xor(NodeContext& c) { c.result(UnaryAttrs{UnaryKind::kNot}, {binary(c, BinaryKind::kEqual, c.input(0), c.input(1))}); }

}  // namespace actmatch::onnx_import
