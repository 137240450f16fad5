#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

// max(x, 0) + slope min(x, 0)
void lower_prelu(NodeContext& c) {
  const ValueId x = c.input(0), slope = c.input(1);
  if (broadcast_shapes(c.shape(x), c.shape(slope)) != c.shape(x))
    throw Unsupported("slopes of shape " + to_string(c.shape(slope)) + " do not fit the input " + to_string(c.shape(x)));
  const ValueId negative = c.step(BinaryAttrs{BinaryKind::kMin}, {x, c.scalar(0.0f)});
  const ValueId positive = c.step(UnaryAttrs{UnaryKind::kRelu}, {x});
  c.result(BinaryAttrs{BinaryKind::kAdd}, {positive, c.step(BinaryAttrs{BinaryKind::kMul}, {negative, slope})});
}

}  // namespace actmatch::onnx_import
