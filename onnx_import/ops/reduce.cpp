#include <algorithm>

#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

ReduceAttrs make_attrs(const NodeContext& c, std::vector<int64_t> axes) {
  const int64_t rank = c.rank(c.input(0));
  ReduceAttrs attrs;
  attrs.keep_dims = c.attributes.flag("keepdims", true);
  if (axes.empty())
    for (int64_t axis = 0; axis < rank; ++axis) axes.push_back(axis);
  for (int64_t& axis : axes) axis = normalise_axis(axis, rank);
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  attrs.axes = std::move(axes);
  return attrs;
}

// The operators differ in what they do to each element before the sum, and to the sum after it.
void lower_reduce(NodeContext& c, ReduceAttrs attrs) {
  const std::string& op = c.op();
  ValueId x = c.input(0);
  attrs.kind = op == "ReduceMean"  ? ReduceKind::kMean
               : op == "ReduceMax" ? ReduceKind::kMax
               : op == "ReduceMin" ? ReduceKind::kMin
                                   : ReduceKind::kSum;
  if (op == "ReduceL1") x = c.step(UnaryAttrs{UnaryKind::kAbs}, {x});
  if (op == "ReduceL2" || op == "ReduceSumSquare") x = c.step(BinaryAttrs{BinaryKind::kMul}, {x, x});
  if (op == "ReduceL2") return c.result(UnaryAttrs{UnaryKind::kSqrt}, {c.step(attrs, {x})});
  c.result(attrs, {x});
}

}  // namespace

void lower_reduce_1(NodeContext& c) { lower_reduce(c, make_attrs(c, c.attributes.integers("axes"))); }

// Axes as an input: ReduceSum since 13, the others since 18.
void lower_reduce_13(NodeContext& c) {
  const std::vector<int64_t> axes = c.has(1) ? c.integers(1, "the list of axes") : std::vector<int64_t>{};
  ReduceAttrs attrs = make_attrs(c, axes);
  if (c.attributes.flag("noop_with_empty_axes", false) && axes.empty()) {
    if (c.op() == "ReduceL1" || c.op() == "ReduceL2" || c.op() == "ReduceSumSquare")
      throw Unsupported("no axes together with noop_with_empty_axes=1 are not supported");
    return c.alias(c.input(0));
  }
  lower_reduce(c, std::move(attrs));
}

}  // namespace actmatch::onnx_import
