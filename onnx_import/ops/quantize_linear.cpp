#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/quantised.h"

namespace actmatch::onnx_import {

// x, scale, [zero point]
void lower_quantize_linear(NodeContext& c) {
  c.attributes.ignore("saturate");   // of 8-bit floats
  c.attributes.ignore("precision");  // of the division
  c.attributes.ignore("block_size");
  const auto type = static_cast<int32_t>(c.attributes.integer("output_dtype", 0, 0));
  quantised_result(c, c.float_input(0), 1, 2, c.attributes.integer("axis", 1), type == 0 ? onnx::TensorProto::UINT8 : type);
}

// x, scale, [zero point]
void lower_dequantize_linear(NodeContext& c) {
  c.attributes.ignore("output_dtype");  // float types, which are all one here
  note_quantisation(c);
  c.alias(dequantised(c, 0, 1, 2, c.attributes.integer("axis", 1), c.attributes.integer("block_size", 0, 0)));
}

// x -> y, scale, zero point. y stands for x itself, so that the scale is 1 and the zero point 0.
void lower_dynamic_quantize_linear(NodeContext& c) {
  note_quantisation(c);
  c.alias(c.float_input(0), 0);
  if (c.output_used(1)) c.alias(c.scalar(1.0f), 1);
  if (c.output_used(2)) c.alias(c.constant(Tensor::scalar(int64_t{0})), 2);
}

}  // namespace actmatch::onnx_import
