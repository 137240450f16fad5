#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

// start, start + step, ...: such indices are a slice, whose gradient is cheaper than that of a gather.
bool is_progression(const std::vector<int64_t>& indices, int64_t& step) {
  step = indices.size() > 1 ? indices[1] - indices[0] : 1;
  for (size_t i = 1; i < indices.size(); ++i)
    if (indices[i] - indices[i - 1] != step) return false;
  return step != 0 && !indices.empty();
}

}  // namespace

void lower_gather(NodeContext& c) {
  const ValueId x = c.input(0), at = c.input(1);
  const Shape shape = c.shape(x);
  const auto axis = static_cast<size_t>(normalise_axis(c.attributes.integer("axis", 0), c.rank(x)));
  const Tensor* given = c.constant(at);
  if (c.constant(x) || !given || given->dtype() != DType::kI64 || given->shape().size() > 1)
    return c.result(GatherAttrs{static_cast<int64_t>(axis)}, {x, at});

  std::vector<int64_t> indices = to_integers(*given);
  for (int64_t& index : indices) index = normalise_axis(index, shape[axis]);  // the same rule: negative ones count from the end
  int64_t step = 1;
  if (!is_progression(indices, step)) return c.result(GatherAttrs{static_cast<int64_t>(axis)}, {x, at});
  SliceAttrs attrs{Shape(shape.size(), 0), Shape(shape.size(), 1), shape};
  attrs.starts[axis] = indices[0];
  attrs.steps[axis] = step;
  attrs.sizes[axis] = static_cast<int64_t>(indices.size());
  if (!given->shape().empty()) return c.result(std::move(attrs), {x});
  Shape dropped = shape;
  dropped.erase(dropped.begin() + static_cast<std::ptrdiff_t>(axis));
  c.result(ReshapeAttrs{std::move(dropped)}, {c.step(std::move(attrs), {x})});
}

}  // namespace actmatch::onnx_import
