#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

void gelu(NodeContext& c, ValueId x, bool by_tanh) { c.result(UnaryAttrs{by_tanh ? UnaryKind::kGeluTanh : UnaryKind::kGelu}, {x}); }

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
