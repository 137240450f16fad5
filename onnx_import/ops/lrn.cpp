#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

// x / (bias + alpha/size * sum of x^2 over `size` neighbouring channels)^beta. The sum over neighbours, divided by `size`, is an average
// pool along the channels, with zeros counted beyond the first and the last.
void lower_lrn(NodeContext& c) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  if (shape.size() < 2) throw Unsupported("its input has the shape " + to_string(shape) + " and no channel axis");
  const int64_t size = c.attributes.integer("size", 0, 1);
  int64_t positions = 1;
  for (size_t i = 2; i < shape.size(); ++i) positions *= shape[i];
  PoolAttrs neighbours;
  neighbours.mode = PoolMode::kAverageIncludePad;
  neighbours.kernel = {size, 1};
  neighbours.pads = {(size - 1) / 2, 0, size / 2, 0};

  const ValueId squares = c.reshape(c.step(BinaryAttrs{BinaryKind::kMul}, {x, x}), {shape[0], 1, shape[1], positions});
  const ValueId average = c.reshape(c.step(neighbours, {squares}), shape);
  const ValueId alpha = c.scalar(c.attributes.number("alpha", 1e-4f)), bias = c.scalar(c.attributes.number("bias", 1.0f));
  const ValueId beta = c.scalar(c.attributes.number("beta", 0.75f));
  const ValueId sum = c.step(BinaryAttrs{BinaryKind::kAdd}, {c.step(BinaryAttrs{BinaryKind::kMul}, {average, alpha}), bias});
  c.result(BinaryAttrs{BinaryKind::kDiv}, {x, c.step(BinaryAttrs{BinaryKind::kPow}, {sum, beta})});
}

}  // namespace actmatch::onnx_import
