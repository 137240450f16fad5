#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

ValueId scaled(NodeContext& c, ValueId x, float factor) {
  return factor == 1.0f ? x : c.step(BinaryAttrs{BinaryKind::kMul}, {x, c.scalar(factor)});
}

}  // namespace

// Up to opset 6 an attribute said whether C is broadcast.
void lower_gemm_1(NodeContext& c) {
  c.attributes.ignore("broadcast");
  lower_gemm(c);
}

// alpha A' B' + beta C. The factors go into the operands that are constant, and C into the product's bias where it is a row.
void lower_gemm(NodeContext& c) {
  const ValueId a = c.input(0);
  ValueId b = c.input(1);
  if (c.rank(a) != 2 || c.rank(b) != 2)
    throw Unsupported("its operands must be matrices, not " + to_string(c.shape(a)) + " and " + to_string(c.shape(b)));
  MatMulAttrs attrs;
  attrs.transpose_a = c.attributes.flag("transA", false);
  attrs.transpose_b = c.attributes.flag("transB", false);
  b = scaled(c, b, c.attributes.number("alpha", 1.0f));
  const float beta = c.attributes.number("beta", 1.0f);
  if (!c.has(2)) return c.result(attrs, {a, b});

  ValueId bias = scaled(c, c.input(2), beta);
  const int64_t columns = c.shape(b)[attrs.transpose_b ? 0 : 1];
  const Shape shape = c.shape(bias);
  const bool is_row = shape.empty() || ((shape.back() == columns || shape.back() == 1) && bounded_count(shape, INT64_MAX) == shape.back());
  if (is_row && c.constant(bias)) {
    bias = c.reshape(bias, {bounded_count(shape, INT64_MAX)});
    if (c.shape(bias)[0] != columns) bias = c.step(ExpandAttrs{{columns}}, {bias});
    return c.result(attrs, {a, b, bias});
  }
  const ValueId product = c.step(attrs, {a, b});
  if (broadcast_shapes(c.shape(product), shape) != c.shape(product))
    throw Unsupported("C of shape " + to_string(shape) + " does not fit the product " + to_string(c.shape(product)));
  c.result(BinaryAttrs{BinaryKind::kAdd}, {product, bias});
}

}  // namespace actmatch::onnx_import
