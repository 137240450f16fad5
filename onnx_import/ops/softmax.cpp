#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

// Up to opset 12 all axes from `axis` on are taken together.
void lower_softmax_1(NodeContext& c) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  const auto rank = static_cast<int64_t>(shape.size());
  SoftmaxAttrs attrs;
  attrs.log = c.op() == "LogSoftmax";
  const int64_t axis = c.attributes.integer("axis", 1);
  const auto first = static_cast<size_t>(axis == rank ? rank : normalise_axis(axis, rank));
  int64_t outer = 1, inner = 1;
  size_t extended = 0, last = first;  // axes of more than one element among those taken together
  for (size_t i = 0; i < shape.size(); ++i) {
    (i < first ? outer : inner) *= shape[i];
    if (i < first || shape[i] == 1) continue;
    ++extended;
    last = i;
  }
  if (extended <= 1 && last < shape.size()) {
    attrs.axis = static_cast<int64_t>(last);
    return c.result(attrs, {x});
  }
  attrs.axis = 1;
  c.result(ReshapeAttrs{shape}, {c.step(attrs, {c.reshape(x, {outer, inner})})});
}

void lower_softmax_13(NodeContext& c) {
  SoftmaxAttrs attrs;
  attrs.log = c.op() == "LogSoftmax";
  attrs.axis = normalise_axis(c.attributes.integer("axis", -1), c.rank(c.input(0)));
  c.result(attrs, {c.input(0)});
}

}  // namespace actmatch::onnx_import
