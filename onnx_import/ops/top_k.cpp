// Operators that ask for the largest elements along an axis. Their positions have no gradient; the values are gathered there.
#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

ValueId orderable(NodeContext& c, ValueId x) { return c.dtype(x) == DType::kBool ? c.cast(x, DType::kI64) : x; }

void lower_arg(NodeContext& c, bool last) {
  const ValueId x = orderable(c, c.input(0));
  TopKAttrs attrs;
  attrs.axis = normalise_axis(c.attributes.integer("axis", 0), c.rank(x));
  attrs.largest = c.op() == "ArgMax";
  attrs.last_first = last;
  const bool keep = c.attributes.flag("keepdims", true);
  if (c.shape(x)[static_cast<size_t>(attrs.axis)] == 0)
    throw Unsupported("its axis " + std::to_string(attrs.axis) + " of the input " + to_string(c.shape(x)) + " is empty");
  if (keep) return c.result(attrs, {x});
  Shape shape = c.shape(x);
  shape.erase(shape.begin() + attrs.axis);
  c.result(ReshapeAttrs{std::move(shape)}, {c.step(attrs, {x})});
}

void lower_top_k(NodeContext& c, int64_t k, bool largest) {
  const ValueId given = c.input(0), x = orderable(c, given);
  TopKAttrs attrs;
  attrs.axis = normalise_axis(c.attributes.integer("axis", -1), c.rank(x));
  attrs.k = k;
  attrs.largest = largest;
  c.attributes.ignore("sorted");  // sorted is one of the orders that sorted=0 allows
  const ValueId positions = c.step(attrs, {x});
  if (c.output_used(0)) c.alias(gather_elements(c, given, positions, attrs.axis), 0);
  if (c.output_used(1)) c.alias(positions, 1);
}

}  // namespace

void lower_arg_1(NodeContext& c) { lower_arg(c, false); }
void lower_arg_12(NodeContext& c) { lower_arg(c, c.attributes.flag("select_last_index", false)); }

void lower_top_k_1(NodeContext& c) { lower_top_k(c, c.attributes.integer("k", 0), true); }
void lower_top_k_10(NodeContext& c) {
  const std::vector<int64_t> k = c.integers(1, "the number of elements");
  if (k.size() != 1) throw Unsupported("the number of elements must be a single number");
  lower_top_k(c, k[0], c.attributes.flag("largest", true));
}

namespace {

// 1 at the first largest element, 0 elsewhere.
ValueId hard_max(NodeContext& c, ValueId x, int64_t axis) {
  const int64_t extent = c.shape(x)[static_cast<size_t>(axis)];
  Shape along(c.shape(x).size(), 1);
  along[static_cast<size_t>(axis)] = extent;
  const ValueId winner = c.step(TopKAttrs{axis, 1, true, false}, {x});
  return c.cast(binary(c, BinaryKind::kEqual, winner, c.reshape(positions(c, extent), along)), DType::kF32);
}

}  // namespace

// Up to opset 12 all axes from `axis` on are taken together.
void lower_hardmax_1(NodeContext& c) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  const int64_t axis = c.attributes.integer("axis", 1), rank = c.rank(x);
  const int64_t first = axis == rank ? rank : normalise_axis(axis, rank);
  Shape flat{1, 1};
  for (int64_t i = 0; i < rank; ++i) flat[i < first ? 0 : 1] *= shape[static_cast<size_t>(i)];
  if (flat[1] == 0) return c.alias(x);
  c.result(ReshapeAttrs{shape}, {hard_max(c, c.reshape(x, flat), 1)});
}
void lower_hardmax_13(NodeContext& c) {
  const ValueId x = c.input(0);
  const int64_t axis = normalise_axis(c.attributes.integer("axis", -1), c.rank(x));
  if (c.shape(x)[static_cast<size_t>(axis)] == 0) return c.alias(x);
  c.alias(hard_max(c, x, axis));
}

}  // namespace actmatch::onnx_import
