#include <algorithm>
#include <limits>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

ReduceAttrs make_attrs(const NodeContext& c, std::vector<int64_t> axes, bool all_where_none) {
  const int64_t rank = c.rank(c.input(0));
  ReduceAttrs attrs;
  attrs.keep_dims = c.attributes.flag("keepdims", true);
  if (axes.empty() && all_where_none) axes = axes_from(0, rank);
  for (int64_t& axis : axes) axis = normalise_axis(axis, rank);
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  attrs.axes = std::move(axes);
  return attrs;
}

Shape reduced_shape(const ReduceAttrs& attrs, const Shape& shape) {
  Shape result;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool reduced = std::find(attrs.axes.begin(), attrs.axes.end(), static_cast<int64_t>(i)) != attrs.axes.end();
    if (!reduced)
      result.push_back(shape[i]);
    else if (attrs.keep_dims)
      result.push_back(1);
  }
  return result;
}

// By halves: the product of the first half of the elements with the second, again and again. No element is divided by, so that zeros
// have their gradient.
ValueId product(NodeContext& c, const ReduceAttrs& attrs, ValueId x) {
  const Shape shape = c.shape(x);
  std::vector<int64_t> perm;
  int64_t count = 1;
  for (int64_t i = 0; i < static_cast<int64_t>(shape.size()); ++i)
    if (std::find(attrs.axes.begin(), attrs.axes.end(), i) == attrs.axes.end()) perm.push_back(i);
  for (int64_t axis : attrs.axes) {
    perm.push_back(axis);
    count *= shape[static_cast<size_t>(axis)];
  }
  const Shape result = reduced_shape(attrs, shape);
  if (count == 0) return expand(c, scalar_like(c, x, 1), result);
  ValueId y = c.reshape(transpose(c, x, perm), {element_count(result), count});
  while (count > 1) {
    const int64_t half = count / 2;
    std::vector<ValueId> parts{multiply(c, slice(c, y, 1, 0, half), slice(c, y, 1, half, half))};
    if (count % 2 == 1) parts.push_back(slice(c, y, 1, count - 1, 1));
    y = concat(c, parts, 1);
    count = half + count % 2;
  }
  return c.reshape(y, result);
}

// log of the sum of exponentials, as if the largest were 0. Its gradient does not depend on what is subtracted.
ValueId log_sum_exp(NodeContext& c, const ReduceAttrs& attrs, ValueId x) {
  const ValueId largest = c.step(UnaryAttrs{UnaryKind::kClip, std::numeric_limits<float>::lowest(), std::numeric_limits<float>::max()},
                                 {reduce(c, ReduceKind::kMax, attrs.axes, x)});
  const ValueId sum = reduce(c, ReduceKind::kSum, attrs.axes, unary(c, UnaryKind::kExp, subtract(c, x, largest)));
  return c.reshape(add(c, unary(c, UnaryKind::kLog, sum), largest), reduced_shape(attrs, c.shape(x)));
}

// What the extreme of no elements is.
ValueId extreme_of_none(NodeContext& c, const ReduceAttrs& attrs, ValueId x, bool largest) {
  const Shape result = reduced_shape(attrs, c.shape(x));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  using Integers = std::numeric_limits<int64_t>;
  if (c.dtype(x) == DType::kF32) return expand(c, c.scalar(largest ? -kInfinity : kInfinity), result);
  if (c.dtype(x) == DType::kBool) return expand(c, scalar_like(c, x, largest ? 0 : 1), result);
  return expand(c, c.constant(Tensor::scalar<int64_t>(largest ? Integers::min() : Integers::max())), result);
}

// The operators differ in what they do to each element before the sum, and to the sum after it.
void lower_reduce(NodeContext& c, ReduceAttrs attrs) {
  const std::string& op = c.op();
  const ValueId given = c.input(0);
  const DType dtype = c.dtype(given);
  const bool extreme = op == "ReduceMax" || op == "ReduceMin";
  bool none = false;
  for (int64_t axis : attrs.axes) none = none || c.shape(given)[static_cast<size_t>(axis)] == 0;
  if (none && (extreme || op == "ReduceLogSumExp")) return c.alias(extreme_of_none(c, attrs, given, op != "ReduceMin"));
  if (op == "ReduceProd") return c.alias(product(c, attrs, given));
  if (op == "ReduceLogSumExp") return c.alias(c.cast(log_sum_exp(c, attrs, c.cast(given, DType::kF32)), dtype));
  ValueId x = given;
  if (dtype == DType::kBool && extreme) x = c.cast(x, DType::kI64);
  if (dtype == DType::kI64 && (op == "ReduceL2" || op == "ReduceLogSum")) x = c.cast(x, DType::kF32);
  attrs.kind = op == "ReduceMean"  ? ReduceKind::kMean
               : op == "ReduceMax" ? ReduceKind::kMax
               : op == "ReduceMin" ? ReduceKind::kMin
                                   : ReduceKind::kSum;
  if (op == "ReduceL1") x = unary(c, UnaryKind::kAbs, x);
  if (op == "ReduceL2" || op == "ReduceSumSquare") x = multiply(c, x, x);
  const bool last = c.dtype(x) == dtype && op != "ReduceL2" && op != "ReduceLogSum";
  if (last) return c.result(attrs, {x});
  ValueId y = c.step(attrs, {x});
  if (op == "ReduceL2") y = unary(c, UnaryKind::kSqrt, y);
  if (op == "ReduceLogSum") y = unary(c, UnaryKind::kLog, y);
  c.alias(c.cast(y, dtype));
}

}  // namespace

void lower_reduce_1(NodeContext& c) { lower_reduce(c, make_attrs(c, c.attributes.integers("axes"), true)); }

// Axes as an input: ReduceSum since 13, the others since 18. Without any, noop_with_empty_axes reduces nothing: each element by itself.
void lower_reduce_13(NodeContext& c) {
  const std::vector<int64_t> axes = c.has(1) ? c.integers(1, "the list of axes") : std::vector<int64_t>{};
  lower_reduce(c, make_attrs(c, axes, !c.attributes.flag("noop_with_empty_axes", false)));
}

}  // namespace actmatch::onnx_import
