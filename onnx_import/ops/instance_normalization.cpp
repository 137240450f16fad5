#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

// scale (x - mean) / sqrt(variance + epsilon) + B, mean and variance of each image and channel over its positions.
void lower_instance_normalization(NodeContext& c) {
  const ValueId x = c.input(0);
  if (c.rank(x) < 3) throw Unsupported("its input has the shape " + to_string(c.shape(x)) + " and no spatial axes");
  ReduceAttrs over_positions;
  for (int64_t axis = 2; axis < c.rank(x); ++axis) over_positions.axes.push_back(axis);
  const ValueId epsilon = c.scalar(c.attributes.number("epsilon", 1e-5f));
  const ValueId centred = c.step(BinaryAttrs{BinaryKind::kSub}, {x, c.step(over_positions, {x})});
  const ValueId variance = c.step(over_positions, {c.step(BinaryAttrs{BinaryKind::kMul}, {centred, centred})});
  const ValueId deviation = c.step(UnaryAttrs{UnaryKind::kSqrt}, {c.step(BinaryAttrs{BinaryKind::kAdd}, {variance, epsilon})});
  const ValueId normal = c.step(BinaryAttrs{BinaryKind::kDiv}, {centred, deviation});
  const ValueId scale = c.input(1), bias = c.input(2);
  if (c.constant(scale) && c.constant(bias)) return c.result(ScaleShiftAttrs{}, {normal, scale, bias});
  Shape channels(c.shape(x).size(), 1);
  channels[1] = c.shape(x)[1];
  if (c.shape(scale) != Shape{channels[1]} || c.shape(bias) != Shape{channels[1]})
    throw Unsupported("its scale and bias do not fit the input " + to_string(c.shape(x)));
  const ValueId scaled = c.step(BinaryAttrs{BinaryKind::kMul}, {normal, c.reshape(scale, channels)});
  c.result(BinaryAttrs{BinaryKind::kAdd}, {scaled, c.reshape(bias, channels)});
}

}  // namespace actmatch::onnx_import
