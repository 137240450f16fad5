#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

void lower_squeeze(NodeContext& c, const std::vector<int64_t>& axes) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  std::vector<bool> dropped(shape.size(), false);
  for (int64_t axis : axes) {
    const auto i = static_cast<size_t>(normalise_axis(axis, c.rank(x)));
    if (shape[i] != 1) throw Unsupported("axis " + std::to_string(i) + " of its input " + to_string(shape) + " has more than one element");
    dropped[i] = true;
  }
  Shape result;
  for (size_t i = 0; i < shape.size(); ++i)
    if (axes.empty() ? shape[i] != 1 : !dropped[i]) result.push_back(shape[i]);
  if (result == shape) return c.alias(x);
  c.result(ReshapeAttrs{std::move(result)}, {x});
}

}  // namespace

void lower_squeeze_1(NodeContext& c) { lower_squeeze(c, c.attributes.integers("axes")); }

void lower_squeeze_13(NodeContext& c) { lower_squeeze(c, c.has(1) ? c.integers(1, "the list of axes") : std::vector<int64_t>{}); }

}  // namespace actmatch::onnx_import
