#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

void lower_global_pool(NodeContext& c, ReduceKind kind) {
  ReduceAttrs attrs;
  attrs.kind = kind;
  const int64_t rank = c.rank(c.input(0));
  if (rank < 3) throw Unsupported("its input has the shape " + to_string(c.shape(c.input(0))) + " and no spatial axes");
  for (int64_t axis = 2; axis < rank; ++axis) attrs.axes.push_back(axis);
  c.result(attrs, {c.input(0)});
}

}  // namespace

void lower_global_average_pool(NodeContext& c) { lower_global_pool(c, ReduceKind::kMean); }

void lower_global_max_pool(NodeContext& c) { lower_global_pool(c, ReduceKind::kMax); }

}  // namespace actmatch::onnx_import
