#include <algorithm>

#include "onnx_import/initializers.h"
#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

void lower_constant_of_shape(NodeContext& c) {
  const Shape shape = c.integers(0, "the shape");
  if (shape.size() > kMaxRank) throw Unsupported("a tensor of " + std::to_string(shape.size()) + " dimensions");
  bounded_count(shape);
  Tensor value = Tensor::scalar(0.0f);
  if (const onnx::TensorProto* tensor = c.attributes.tensor("value")) value = read_tensor(*tensor, "its value");
  if (value.count() != 1) throw Unsupported("attribute 'value' must have one element, not the shape " + to_string(value.shape()));
  Tensor filled(value.dtype(), shape);
  const auto fill = [&]<class T>(T element) { std::fill_n(filled.data<T>(), filled.count(), element); };
  switch (value.dtype()) {
    case DType::kF32: fill(*value.data<float>()); break;
    case DType::kI64: fill(*value.data<int64_t>()); break;
    case DType::kBool: fill(*value.data<uint8_t>()); break;
  }
  c.constant_result(std::move(filled));
}

}  // namespace actmatch::onnx_import
