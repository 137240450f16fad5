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
  if (c.attributes.flag("fmod", false)) return c.alias(remainder(c, a, b));
  if (c.dtype(a) == DType::kF32)
    return c.result(BinaryAttrs{BinaryKind::kSub}, {a, multiply(c, unary(c, UnaryKind::kFloor, divide(c, a, b)), b)});
  c.alias(remainder(c, add(c, remainder(c, a, b), b), b));
}

// True where exactly one is.
void lower_xor(NodeContext& c) {
  c.result(UnaryAttrs{UnaryKind::kNot}, {binary(c, BinaryKind::kEqual, c.input(0), c.input(1))});
}

}  // namespace actmatch::onnx_import
