#include "onnx_import/initializers.h"
#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

// An Expand of one number: what is too large to be made here, a backend makes.
void lower_constant_of_shape(NodeContext& c) {
  Shape shape = c.integers(0, "the shape");
  if (shape.size() > kMaxRank) throw Unsupported("a tensor of " + std::to_string(shape.size()) + " dimensions");
  for (int64_t extent : shape)
    if (extent < 0) throw Unsupported("a shape with the negative extent " + std::to_string(extent));
  Tensor value = Tensor::scalar(0.0f);
  if (const onnx::TensorProto* tensor = c.attributes.tensor("value")) value = read_tensor(*tensor, "its value");
  if (value.count() != 1) throw Unsupported("attribute 'value' must have one element, not the shape " + to_string(value.shape()));
  c.result(ExpandAttrs{std::move(shape)}, {c.constant(value.reshaped({}))});
}

}  // namespace actmatch::onnx_import
