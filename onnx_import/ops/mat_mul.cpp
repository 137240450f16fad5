#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

// NumPy's matmul: a vector on the left is a row, one on the right a column, and their axis is dropped from the result.
void lower_mat_mul(NodeContext& c) {
  ValueId a = c.input(0), b = c.input(1);
  const bool row = c.rank(a) == 1, column = c.rank(b) == 1;
  if (c.rank(a) == 0 || c.rank(b) == 0) throw Unsupported("its operands must not be scalars");
  if (!row && !column) return c.result(MatMulAttrs{}, {a, b});
  if (row) a = c.reshape(a, {1, c.shape(a)[0]});
  if (column) b = c.reshape(b, {c.shape(b)[0], 1});
  const ValueId product = c.step(MatMulAttrs{}, {a, b});
  Shape shape = c.shape(product);
  if (column) shape.pop_back();
  if (row) shape.erase(shape.end() - (column ? 1 : 2));
  c.result(ReshapeAttrs{std::move(shape)}, {product});
}

}  // namespace actmatch::onnx_import
