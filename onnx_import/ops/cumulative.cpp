// Sums and products of all elements up to each along an axis, by doubling: after step n every element has taken in 2^n neighbours.
#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

// The elements moved along the axis, `neutral` where nothing comes from; `by` > 0 moves toward the end.
ValueId shifted(NodeContext& c, ValueId x, size_t axis, int64_t by, ValueId neutral) {
  const Shape& shape = c.shape(x);
  const int64_t amount = by > 0 ? by : -by, extent = shape[axis];
  Shape filled = shape;
  filled[axis] = amount;
  const ValueId fill = expand(c, neutral, filled);
  const ValueId rest = slice(c, x, axis, by > 0 ? 0 : amount, extent - amount);
  return by > 0 ? concat(c, {fill, rest}, axis) : concat(c, {rest, fill}, axis);
}

void lower_cumulative(NodeContext& c, BinaryKind kind) {
  ValueId x = c.input(0);
  const std::vector<int64_t> given = c.integers(1, "the axis");
  if (given.size() != 1) throw Unsupported("the axis must be a single number");
  const auto axis = static_cast<size_t>(normalise_axis(given[0], c.rank(x)));
  const int64_t extent = c.shape(x)[axis];
  const bool exclusive = c.attributes.flag("exclusive", false), reverse = c.attributes.flag("reverse", false);
  if (extent == 0) return c.alias(x);
  const ValueId neutral = c.reshape(scalar_like(c, x, kind == BinaryKind::kMul ? 1 : 0), Shape(c.shape(x).size(), 1));
  const int64_t direction = reverse ? -1 : 1;
  if (exclusive) x = shifted(c, x, axis, direction, neutral);
  for (int64_t step = 1; step < extent; step *= 2) x = binary(c, kind, x, shifted(c, x, axis, direction * step, neutral));
  c.alias(x);
}

}  // namespace

void lower_cum_sum(NodeContext& c) { lower_cumulative(c, BinaryKind::kAdd); }
void lower_cum_prod(NodeContext& c) { lower_cumulative(c, BinaryKind::kMul); }

}  // namespace actmatch::onnx_import
