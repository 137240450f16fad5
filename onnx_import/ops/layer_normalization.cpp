#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

// scale (x - mean) / sqrt(variance + epsilon) + B, mean and variance over the axes from `axis` on.
void lower_layer_normalization(NodeContext& c) {
  const ValueId x = c.input(0);
  c.attributes.ignore("stash_type");  // everything is computed in float32
  ReduceAttrs over_tail;
  for (int64_t axis = normalise_axis(c.attributes.integer("axis", -1), c.rank(x)); axis < c.rank(x); ++axis) over_tail.axes.push_back(axis);
  const ValueId epsilon = c.scalar(c.attributes.number("epsilon", 1e-5f));
  const ValueId mean = c.step(over_tail, {x});
  const ValueId centred = c.step(BinaryAttrs{BinaryKind::kSub}, {x, mean});
  const ValueId variance = c.step(over_tail, {c.step(BinaryAttrs{BinaryKind::kMul}, {centred, centred})});
  const ValueId deviation = c.step(UnaryAttrs{UnaryKind::kSqrt}, {c.step(BinaryAttrs{BinaryKind::kAdd}, {variance, epsilon})});
  const ValueId normal = c.step(BinaryAttrs{BinaryKind::kDiv}, {centred, deviation});
  if (c.output_used(1)) c.alias(mean, 1);
  if (c.output_used(2)) c.result(UnaryAttrs{UnaryKind::kReciprocal}, {deviation}, 2);
  if (!c.has(2)) return c.result(BinaryAttrs{BinaryKind::kMul}, {normal, c.input(1)});
  const ValueId scaled = c.step(BinaryAttrs{BinaryKind::kMul}, {normal, c.input(1)});
  c.result(BinaryAttrs{BinaryKind::kAdd}, {scaled, c.input(2)});
}

}  // namespace actmatch::onnx_import
