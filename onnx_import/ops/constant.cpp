#include <limits>

#include "onnx_import/initializers.h"
#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

// Constants given as a tensor are read with the weights and do not come here, unless they have come with another attribute.
void lower_constant(NodeContext& c) {
  const AttributeReader& a = c.attributes;
  if (const onnx::TensorProto* tensor = a.tensor("value")) return c.constant_result(read_tensor(*tensor, "its value"));
  if (a.has("value_float")) return c.constant_result(Tensor::scalar(a.number("value_float", 0.0f)));
  if (a.has("value_int"))
    return c.constant_result(
        Tensor::scalar(a.integer("value_int", 0, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max())));
  if (a.has("value_floats")) {
    const std::vector<float> values = a.numbers("value_floats");
    return c.constant_result(Tensor::of<float>({static_cast<int64_t>(values.size())}, values));
  }
  if (a.has("value_ints")) {
    const std::vector<int64_t> values = a.integers("value_ints");
    return c.constant_result(Tensor::of<int64_t>({static_cast<int64_t>(values.size())}, values));
  }
  throw Unsupported("only tensors and numbers are supported, not strings and sparse tensors");
}

}  // namespace actmatch::onnx_import
