#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {

void lower_gather_elements(NodeContext& c) {
  const ValueId x = c.input(0);
  c.alias(gather_elements(c, x, c.input(1), normalise_axis(c.attributes.integer("axis", 0), c.rank(x))));
}

// The last axis of the indices names coordinates, behind batch_dims axes that both operands share; what remains of x is taken whole. The
// coordinates become row numbers of x as a matrix.
void lower_gather_nd(NodeContext& c) {
  const ValueId x = c.input(0), indices = c.input(1);
  const Shape shape = c.shape(x), picked = c.shape(indices);
  const int64_t batch = c.attributes.integer("batch_dims", 0, 0);
  if (picked.empty() || shape.empty()) throw Unsupported("its operands must have at least one axis");
  const int64_t coordinates = picked.back();
  const auto b = static_cast<size_t>(batch);
  if (b >= picked.size() || coordinates < 0 || batch + coordinates > c.rank(x))
    throw Unsupported("indices of shape " + to_string(picked) + " do not fit the input " + to_string(shape));
  for (size_t i = 0; i < b; ++i)
    if (shape[i] != picked[i]) throw Unsupported("indices of shape " + to_string(picked) + " do not fit the input " + to_string(shape));
  const auto used = b + static_cast<size_t>(coordinates);
  int64_t rows = 1, inner = 1;
  for (size_t i = 0; i < shape.size(); ++i) (i < used ? rows : inner) *= shape[i];
  Shape left(picked.begin(), picked.end() - 1), result = left;
  result.insert(result.end(), shape.begin() + static_cast<std::ptrdiff_t>(used), shape.end());
  // The batch's part of the row, by table.
  bounded_count(left);
  const Shape counted(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(used));
  const std::vector<int64_t> strides = row_major_strides(counted), own = row_major_strides(left);
  Tensor base(DType::kI64, left);
  for (int64_t i = 0; i < base.count(); ++i)
    for (size_t k = 0; k < b; ++k) base.data<int64_t>()[i] += i / own[k] % left[k] * strides[k];
  ValueId row = c.constant(std::move(base));
  for (int64_t j = 0; j < coordinates; ++j) {
    const int64_t extent = shape[b + static_cast<size_t>(j)];
    const ValueId coordinate = wrap_negative(c, c.reshape(slice(c, indices, picked.size() - 1, j, 1), left), extent);
    const ValueId inside = binary(c, BinaryKind::kAnd, binary(c, BinaryKind::kGreaterOrEqual, coordinate, scalar_like(c, coordinate, 0)),
                                  binary(c, BinaryKind::kLess, coordinate, c.constant(Tensor::scalar(extent))));
    const ValueId checked = where(c, inside, coordinate, c.constant(Tensor::scalar(rows)));
    row = add(c, row, multiply(c, checked, c.constant(Tensor::scalar(strides[b + static_cast<size_t>(j)]))));
  }
  c.result(ReshapeAttrs{std::move(result)}, {gather(c, c.reshape(x, {rows, inner}), 0, row)});
}

}  // namespace actmatch::onnx_import
