#include <algorithm>

#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

// max(x, 0) + slope min(x, 0)
void lower(NodeContext& c, ValueId slope) {
  const ValueId x = c.input(0);
  if (broadcast_shapes(c.shape(x), c.shape(slope)) != c.shape(x))
    throw Unsupported("slopes of shape " + to_string(c.shape(slope)) + " do not fit the input " + to_string(c.shape(x)));
  const ValueId negative = c.step(BinaryAttrs{BinaryKind::kMin}, {x, c.scalar(0.0f)});
  const ValueId positive = c.step(UnaryAttrs{UnaryKind::kRelu}, {x});
  c.result(BinaryAttrs{BinaryKind::kAdd}, {positive, c.step(BinaryAttrs{BinaryKind::kMul}, {negative, slope})});
}

}  // namespace

// Up to opset 6: one slope for each channel, or one for all.
void lower_prelu_1(NodeContext& c) {
  const ValueId slope = c.input(1);
  Shape shape = c.shape(slope);
  if (shape.size() == 1 && shape[0] != 1) shape.resize(static_cast<size_t>(std::max<int64_t>(c.rank(c.input(0)) - 1, 1)), 1);
  lower(c, c.reshape(slope, std::move(shape)));
}

void lower_prelu_7(NodeContext& c) { lower(c, c.input(1)); }

}  // namespace actmatch::onnx_import
