#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

// The target broadcasts with the input, so that a 1 in it keeps the input's extent.
void lower_expand(NodeContext& c) {
  const ValueId x = c.input(0);
  const std::vector<int64_t> target = c.integers(1, "the target shape");
  for (int64_t extent : target)
    if (extent < 0) throw Unsupported("the target " + to_string(target) + " has a negative extent");
  Shape shape = broadcast_shapes(c.shape(x), target);
  if (shape == c.shape(x)) return c.alias(x);
  c.result(ExpandAttrs{std::move(shape)}, {x});
}

}  // namespace actmatch::onnx_import
