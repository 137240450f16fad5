#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

void lower_flatten(NodeContext& c) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  const auto rank = static_cast<int64_t>(shape.size());
  const int64_t axis = c.attributes.integer("axis", 1);
  const int64_t first = axis == rank ? rank : normalise_axis(axis, rank);
  Shape flat{1, 1};
  for (int64_t i = 0; i < rank; ++i) flat[i < first ? 0 : 1] *= shape[static_cast<size_t>(i)];
  if (flat == shape) return c.alias(x);
  c.result(ReshapeAttrs{std::move(flat)}, {x});
}

}  // namespace actmatch::onnx_import
