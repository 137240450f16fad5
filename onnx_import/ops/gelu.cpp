#include <numbers>

#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

// x/2 (1 + erf(x / sqrt 2)), or with tanh(sqrt(2/pi) (x + 0.044715 x^3)) in place of erf.
void lower_gelu(NodeContext& c) {
  const auto multiply = [&](ValueId a, ValueId b) { return c.step(BinaryAttrs{BinaryKind::kMul}, {a, b}); };
  const auto add = [&](ValueId a, ValueId b) { return c.step(BinaryAttrs{BinaryKind::kAdd}, {a, b}); };
  const std::string approximate = c.attributes.text("approximate", "none");
  const ValueId x = c.input(0);
  ValueId curve = kNoValue;
  if (approximate == "none") {
    curve = c.step(UnaryAttrs{UnaryKind::kErf}, {multiply(x, c.scalar(static_cast<float>(1 / std::numbers::sqrt2)))});
  } else if (approximate == "tanh") {
    const ValueId cubic = multiply(multiply(multiply(x, x), x), c.scalar(0.044715f));
    const float factor = static_cast<float>(std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
    curve = c.step(UnaryAttrs{UnaryKind::kTanh}, {multiply(add(x, cubic), c.scalar(factor))});
  } else {
    throw Unsupported("attribute 'approximate' is '" + approximate + "', which is not defined");
  }
  const ValueId half = multiply(x, c.scalar(0.5f));
  c.result(BinaryAttrs{BinaryKind::kMul}, {half, add(curve, c.scalar(1.0f))});
}

}  // namespace actmatch::onnx_import
