#include "onnx_import/ops/steps.h"

#include <algorithm>
#include <numeric>

namespace actmatch::onnx_import {

ValueId scalar_like(NodeContext& c, ValueId x, double value) {
  if (c.dtype(x) == DType::kI64) return c.constant(Tensor::scalar(static_cast<int64_t>(value)));
  if (c.dtype(x) == DType::kBool) return c.constant(Tensor::scalar(static_cast<uint8_t>(value != 0)));
  return c.scalar(static_cast<float>(value));
}

ValueId transpose(NodeContext& c, ValueId x, std::vector<int64_t> perm) {
  if (std::is_sorted(perm.begin(), perm.end())) return x;
  return c.step(TransposeAttrs{std::move(perm)}, {x});
}

ValueId slice(NodeContext& c, ValueId x, size_t axis, int64_t start, int64_t size, int64_t step) {
  const Shape& shape = c.shape(x);
  if (start == 0 && step == 1 && size == shape[axis]) return x;
  SliceAttrs attrs{Shape(shape.size(), 0), Shape(shape.size(), 1), shape};
  attrs.starts[axis] = size == 0 ? 0 : start;
  attrs.steps[axis] = step;
  attrs.sizes[axis] = size;
  return c.step(std::move(attrs), {x});
}

ValueId concat(NodeContext& c, std::vector<ValueId> parts, size_t axis) {
  const ValueId first = parts.at(0);
  for (ValueId part : parts)
    if (c.shape(part).size() <= axis)
      throw Unsupported("it joins a tensor of the shape " + to_string(c.shape(part)) + " along axis " + std::to_string(axis));
  std::erase_if(parts, [&](ValueId part) { return c.shape(part)[axis] == 0; });  // empty parts only trouble the backends
  if (parts.empty()) return first;
  if (parts.size() == 1) return parts[0];
  return c.step(ConcatAttrs{static_cast<int64_t>(axis)}, std::move(parts));
}

ValueId expand(NodeContext& c, ValueId x, Shape shape) {
  if (c.shape(x) == shape) return x;
  return c.step(ExpandAttrs{std::move(shape)}, {x});
}

ValueId gather(NodeContext& c, ValueId x, int64_t axis, ValueId indices) { return c.step(GatherAttrs{axis}, {x, indices}); }

ValueId wrap_negative(NodeContext& c, ValueId indices, int64_t extent) {
  const ValueId negative = binary(c, BinaryKind::kLess, indices, c.constant(Tensor::scalar<int64_t>(0)));
  return where(c, negative, add(c, indices, c.constant(Tensor::scalar(extent))), indices);
}

// Through the flat input, so that one gather along one axis does it: the position is computed from the indices and, by a table, from where
// they stand. A position of another line than the index' own cannot come out, since what lies outside the axis is refused first.
ValueId gather_elements(NodeContext& c, ValueId x, ValueId indices, int64_t axis) {
  const Shape shape = c.shape(x), picked = c.shape(indices);
  const auto along = static_cast<size_t>(axis);
  if (picked.size() != shape.size())
    throw Unsupported("indices of shape " + to_string(picked) + " do not have the rank of the input " + to_string(shape));
  for (size_t i = 0; i < shape.size(); ++i)
    if (i != along && picked[i] > shape[i])
      throw Unsupported("indices of shape " + to_string(picked) + " do not fit the input " + to_string(shape));
  const std::vector<int64_t> strides = row_major_strides(shape);
  bounded_count(picked);
  Tensor base(DType::kI64, picked);
  const std::vector<int64_t> own = row_major_strides(picked);
  for (int64_t i = 0; i < base.count(); ++i) {
    int64_t offset = 0;
    for (size_t k = 0; k < picked.size(); ++k)
      if (k != along) offset += i / own[k] % picked[k] * strides[k];
    base.data<int64_t>()[i] = offset;
  }
  // An index outside the axis becomes one outside the whole.
  const int64_t extent = shape[along], count = element_count(shape);
  ValueId at = wrap_negative(c, indices, extent);
  const ValueId inside = binary(c, BinaryKind::kAnd, binary(c, BinaryKind::kGreaterOrEqual, at, scalar_like(c, at, 0)),
                                binary(c, BinaryKind::kLess, at, c.constant(Tensor::scalar(extent))));
  at = where(c, inside, at, c.constant(Tensor::scalar(count)));
  at = add(c, multiply(c, at, c.constant(Tensor::scalar(strides[along]))), c.constant(std::move(base)));
  return gather(c, c.reshape(x, {count}), 0, at);
}

ValueId positions(NodeContext& c, int64_t count) {
  bounded_count({count});
  return c.vector(axes_from(0, count));
}

std::vector<int64_t> axes_from(int64_t first, int64_t rank) {
  std::vector<int64_t> axes(static_cast<size_t>(std::max<int64_t>(rank - first, 0)));
  std::iota(axes.begin(), axes.end(), first);
  return axes;
}

}  // namespace actmatch::onnx_import
