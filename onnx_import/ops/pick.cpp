// Operators that pick or reorder slices by constant lists.
#include <algorithm>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {

// The slices whose condition is true; without an axis, of the flat input.
void lower_compress(NodeContext& c) {
  ValueId x = c.input(0);
  const Tensor& condition = c.need_constant(1, "the condition");
  if (condition.dtype() != DType::kBool || condition.shape().size() != 1) throw Unsupported("its condition must be a list of booleans");
  int64_t axis = 0;
  if (c.attributes.has("axis"))
    axis = normalise_axis(c.attributes.integer("axis", 0), c.rank(x));
  else
    x = c.reshape(x, {element_count(c.shape(x))});
  const int64_t extent = c.shape(x)[static_cast<size_t>(axis)];
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < std::min(extent, condition.count()); ++i)
    if (condition.data<uint8_t>()[i]) chosen.push_back(i);
  c.result(GatherAttrs{axis}, {x, c.vector(chosen)});
}

// The first lengths[i] elements along the time axis turned round, for each i along the batch axis.
void lower_reverse_sequence(NodeContext& c) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  const std::vector<int64_t> lengths = c.integers(1, "the list of lengths");
  const int64_t batch = normalise_axis(c.attributes.integer("batch_axis", 1), c.rank(x));
  const int64_t time = normalise_axis(c.attributes.integer("time_axis", 0), c.rank(x));
  const auto b = static_cast<size_t>(batch), t = static_cast<size_t>(time);
  if (b == t || static_cast<int64_t>(lengths.size()) != shape[b]) throw Unsupported("its lengths do not fit the input " + to_string(shape));
  Shape table_shape(shape.size(), 1);
  table_shape[b] = shape[b];
  table_shape[t] = shape[t];
  bounded_count(table_shape);
  Tensor table(DType::kI64, table_shape);
  const std::vector<int64_t> strides = row_major_strides(table_shape);
  for (int64_t i = 0; i < shape[b]; ++i)
    for (int64_t j = 0; j < shape[t]; ++j) {
      const int64_t length = lengths[static_cast<size_t>(i)];
      if (length < 0 || length > shape[t]) throw Unsupported("the length " + std::to_string(length) + " is out of range");
      table.data<int64_t>()[i * strides[b] + j * strides[t]] = j < length ? length - 1 - j : j;
    }
  c.alias(gather_elements(c, x, expand(c, c.constant(std::move(table)), shape), time));
}

// Cuts the middle out of axes that are too long, pads those that are too short with zeros on both sides.
void lower_center_crop_pad(NodeContext& c) {
  const ValueId x = c.input(0);
  const std::vector<int64_t> wanted = c.integers(1, "the target shape");
  std::vector<int64_t> axes = c.attributes.integers("axes");
  if (axes.empty()) axes = axes_from(0, c.rank(x));
  if (axes.size() != wanted.size()) throw Unsupported("its axes and its target shape differ in length");
  Shape shape = c.shape(x);
  PadAttrs attrs{Shape(shape.size(), 0), Shape(shape.size(), 0), PadMode::kConstant, 0.0f};
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(normalise_axis(axes[i], c.rank(x)));
    if (wanted[i] < 0 || wanted[i] > AttributeReader::kLargest) throw Unsupported("the target " + to_string(wanted) + " is out of range");
    const int64_t difference = wanted[i] - shape[axis];
    // The smaller half of an odd crop and of an odd padding comes first.
    attrs.before[axis] = difference >= 0 ? difference / 2 : -(-difference / 2);
    attrs.after[axis] = difference - attrs.before[axis];
  }
  c.result(std::move(attrs), {x});
}

}  // namespace actmatch::onnx_import
