#include "onnx_import/initializers.h"
#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

void lower_unsqueeze(NodeContext& c, const std::vector<int64_t>& axes) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  if (axes.empty() || axes.size() > kMaxRank) throw Unsupported("it inserts " + std::to_string(axes.size()) + " axes");
  const size_t rank = shape.size() + axes.size();
  std::vector<bool> inserted(rank, false);
  for (int64_t axis : axes) {
    const auto i = static_cast<size_t>(normalise_axis(axis, static_cast<int64_t>(rank)));
    if (inserted[i]) throw Unsupported("it inserts axis " + std::to_string(i) + " twice");
    inserted[i] = true;
  }
  Shape result;
  size_t next = 0;
  for (size_t i = 0; i < rank; ++i) result.push_back(inserted[i] ? 1 : shape[next++]);
  c.result(ReshapeAttrs{std::move(result)}, {x});
}

}  // namespace

void lower_unsqueeze_1(NodeContext& c) { lower_unsqueeze(c, c.attributes.integers("axes")); }

void lower_unsqueeze_13(NodeContext& c) { lower_unsqueeze(c, c.integers(1, "the list of axes")); }

}  // namespace actmatch::onnx_import
