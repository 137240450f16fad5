#include <numbers>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

// x/2 (1 + erf(x / sqrt 2)), or with tanh(sqrt(2/pi) (x + 0.044715 x^3)) in place of erf.
void gelu(NodeContext& c, ValueId x, bool by_tanh) {
  ValueId curve = kNoValue;
  if (by_tanh) {
    const ValueId cubic = multiply(c, multiply(c, multiply(c, x, x), x), c.scalar(0.044715f));
    const float factor = static_cast<float>(std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
    curve = unary(c, UnaryKind::kTanh, multiply(c, add(c, x, cubic), c.scalar(factor)));
  } else {
    curve = unary(c, UnaryKind::kErf, multiply(c, x, c.scalar(static_cast<float>(1 / std::numbers::sqrt2))));
  }
  c.result(BinaryAttrs{BinaryKind::kMul}, {multiply(c, x, c.scalar(0.5f)), add(c, curve, c.scalar(1.0f))});
}

ValueId with_bias(NodeContext& c) { return c.has(1) ? add(c, c.input(0), c.input(1)) : c.input(0); }

}  // namespace

void lower_gelu(NodeContext& c) {
  const std::string approximate = c.attributes.text("approximate", "none");
  if (approximate != "none" && approximate != "tanh")
    throw Unsupported("attribute 'approximate' is '" + approximate + "', which is not defined");
  gelu(c, c.input(0), approximate == "tanh");
}

// ONNX Runtime's own, which its optimiser writes: Gelu, BiasGelu; FastGelu; QuickGelu, x sigmoid(alpha x).
void lower_microsoft_gelu(NodeContext& c) { gelu(c, with_bias(c), false); }
void lower_microsoft_fast_gelu(NodeContext& c) { gelu(c, with_bias(c), true); }
void lower_microsoft_quick_gelu(NodeContext& c) {
  const ValueId x = c.input(0);
  const ValueId gate = unary(c, UnaryKind::kSigmoid, multiply(c, x, c.scalar(c.attributes.number("alpha", 1.702f))));
  c.result(BinaryAttrs{BinaryKind::kMul}, {x, gate});
}

}  // namespace actmatch::onnx_import
