// Short names for the steps that operators are composed of.
#pragma once

#include "onnx_import/node_context.h"

namespace actmatch::onnx_import {

inline ValueId binary(NodeContext& c, BinaryKind kind, ValueId a, ValueId b) { return c.step(BinaryAttrs{kind}, {a, b}); }
inline ValueId add(NodeContext& c, ValueId a, ValueId b) { return binary(c, BinaryKind::kAdd, a, b); }
inline ValueId subtract(NodeContext& c, ValueId a, ValueId b) { return binary(c, BinaryKind::kSub, a, b); }
inline ValueId multiply(NodeContext& c, ValueId a, ValueId b) { return binary(c, BinaryKind::kMul, a, b); }
inline ValueId divide(NodeContext& c, ValueId a, ValueId b) { return binary(c, BinaryKind::kDiv, a, b); }
inline ValueId unary(NodeContext& c, UnaryKind kind, ValueId x) { return c.step(UnaryAttrs{kind}, {x}); }
inline ValueId where(NodeContext& c, ValueId condition, ValueId a, ValueId b) { return c.step(WhereAttrs{}, {condition, a, b}); }
// Axes positive and ascending; they are kept with extent 1.
inline ValueId reduce(NodeContext& c, ReduceKind kind, std::vector<int64_t> axes, ValueId x) {
  return c.step(ReduceAttrs{kind, std::move(axes), true}, {x});
}

// A number of the value's type.
ValueId scalar_like(NodeContext& c, ValueId x, double value);
// The value itself where the order is that of its axes already.
ValueId transpose(NodeContext& c, ValueId x, std::vector<int64_t> perm);
// x[start, start + step, ...] of one axis, `size` elements.
ValueId slice(NodeContext& c, ValueId x, size_t axis, int64_t start, int64_t size, int64_t step = 1);
ValueId concat(NodeContext& c, std::vector<ValueId> parts, size_t axis);
// Repeats extents of 1.
ValueId expand(NodeContext& c, ValueId x, Shape shape);
ValueId gather(NodeContext& c, ValueId x, int64_t axis, ValueId indices);
// Negative indices count from the end of an axis of this extent.
ValueId wrap_negative(NodeContext& c, ValueId indices, int64_t extent);
// y[i] = x[i with the coordinate of `axis` replaced by indices[i]]; both of one rank.
ValueId gather_elements(NodeContext& c, ValueId x, ValueId indices, int64_t axis);
ValueId positions(NodeContext& c, int64_t count);             // the constant 0, 1, ..., count - 1
std::vector<int64_t> axes_from(int64_t first, int64_t rank);  // first, first + 1, ..., rank - 1

}  // namespace actmatch::onnx_import
