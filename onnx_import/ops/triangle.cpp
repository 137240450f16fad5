// Triangles and diagonals of matrices.
#include <optional>

#include "onnx_import/initializers.h"
#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

// rows x columns, true where `inside(column - row)`.
template <class Inside>
Tensor diagonal_mask(int64_t rows, int64_t columns, const Inside& inside) {
  bounded_count({rows, columns});
  Tensor mask(DType::kBool, {rows, columns});
  for (int64_t i = 0; i < mask.count(); ++i) mask.data<uint8_t>()[i] = inside(i % columns - i / columns);
  return mask;
}

}  // namespace

// Keeps what lies on and above (upper) or below diagonal k, counted from the main one.
void lower_trilu(NodeContext& c) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  if (shape.size() < 2) throw Unsupported("its input has the shape " + to_string(shape) + " and is no matrix");
  int64_t k = 0;
  if (c.has(1)) {
    const std::vector<int64_t> given = c.integers(1, "the diagonal");
    if (given.size() != 1) throw Unsupported("the diagonal must be a single number");
    k = given[0];
  }
  const bool upper = c.attributes.flag("upper", true);
  Tensor mask = diagonal_mask(shape[shape.size() - 2], shape.back(), [&](int64_t d) { return upper ? d >= k : d <= k; });
  c.result(WhereAttrs{}, {c.constant(std::move(mask)), x, scalar_like(c, x, 0)});
}

void lower_eye_like(NodeContext& c) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  if (shape.size() != 2) throw Unsupported("its input has the shape " + to_string(shape) + " and is no matrix");
  const int64_t k = c.attributes.integer("k", 0);
  DType dtype = c.dtype(x);
  if (c.attributes.has("dtype")) {
    const auto given = static_cast<int32_t>(c.attributes.integer("dtype", 1, 0));
    const auto widened = widened_type(given);
    if (!widened) throw Unsupported("the element type " + type_name(given) + " is not supported");
    dtype = *widened;
  }
  const ValueId mask = c.constant(diagonal_mask(shape[0], shape[1], [&](int64_t d) { return d == k; }));
  c.alias(c.cast(mask, dtype));
}

}  // namespace actmatch::onnx_import
