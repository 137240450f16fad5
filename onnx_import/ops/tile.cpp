#include <limits>

#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

// A repeated axis of extent e is 1 x e, expanded to r x e and joined to r*e.
void lower_tile(NodeContext& c) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  const std::vector<int64_t> repeats = c.integers(1, "the list of repeats");
  if (repeats.size() != shape.size())
    throw Unsupported("it has " + std::to_string(repeats.size()) + " repeats for an input of shape " + to_string(shape));
  Shape split, repeated, joined;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (repeats[i] < 0 || repeats[i] > AttributeReader::kLargest)
      throw Unsupported("the repeat " + std::to_string(repeats[i]) + " is out of range");
    if (repeats[i] != 1) {
      split.push_back(1);
      repeated.push_back(repeats[i]);
    }
    split.push_back(shape[i]);
    repeated.push_back(shape[i]);
    joined.push_back(shape[i] * repeats[i]);
  }
  if (joined == shape) return c.alias(x);
  bounded_count(joined, std::numeric_limits<int64_t>::max() / 8);
  c.result(ReshapeAttrs{std::move(joined)}, {c.step(ExpandAttrs{std::move(repeated)}, {c.reshape(x, std::move(split))})});
}

}  // namespace actmatch::onnx_import
