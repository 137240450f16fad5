#include <cmath>
#include <limits>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

void lower_clip(NodeContext& c, float low, float high) {
  if (std::isnan(low) || std::isnan(high)) throw Unsupported("a bound is not a number");
  c.result(UnaryAttrs{UnaryKind::kClip, low, high}, {c.input(0)});
}

constexpr float kLowest = std::numeric_limits<float>::lowest(), kHighest = std::numeric_limits<float>::max();

}  // namespace

void lower_clip_6(NodeContext& c) { lower_clip(c, c.attributes.number("min", kLowest), c.attributes.number("max", kHighest)); }

void lower_clip_11(NodeContext& c) {
  const ValueId x = c.input(0);
  const auto fixed = [&](size_t i) { return !c.has(i) || c.constant(c.input(i)) != nullptr; };
  if (c.dtype(x) == DType::kF32 && fixed(1) && fixed(2))
    return lower_clip(c, c.has(1) ? c.number(1, "the lower bound") : kLowest, c.has(2) ? c.number(2, "the upper bound") : kHighest);
  ValueId y = x;  // bounds of integers must not pass through a float
  if (c.has(1)) y = binary(c, BinaryKind::kMax, y, c.input(1));
  if (c.has(2)) y = binary(c, BinaryKind::kMin, y, c.input(2));
  c.alias(y);
}

}  // namespace actmatch::onnx_import
