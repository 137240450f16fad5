#include <algorithm>

#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

void lower_split(NodeContext& c, const std::vector<int64_t>& parts, size_t axis) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  if (parts.size() != c.output_count())
    throw Unsupported("it names " + std::to_string(parts.size()) + " parts for " + std::to_string(c.output_count()) + " outputs");
  int64_t start = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] < 0 || parts[i] > shape[axis] - start)
      throw Unsupported("its parts do not add up to axis " + std::to_string(axis) + " of its input " + to_string(shape));
    SliceAttrs attrs{Shape(shape.size(), 0), Shape(shape.size(), 1), shape};
    attrs.starts[axis] = parts[i] > 0 ? start : 0;
    attrs.sizes[axis] = parts[i];
    start += parts[i];
    if (c.output_used(i)) c.result(std::move(attrs), {x}, i);
  }
  if (start != shape[axis])
    throw Unsupported("its parts do not add up to axis " + std::to_string(axis) + " of its input " + to_string(shape));
}

size_t split_axis(const NodeContext& c) { return static_cast<size_t>(normalise_axis(c.attributes.integer("axis", 0), c.rank(c.input(0)))); }

std::vector<int64_t> equal_parts(const NodeContext& c, size_t axis) {
  const int64_t extent = c.shape(c.input(0))[axis];
  const auto count = static_cast<int64_t>(std::max<size_t>(c.output_count(), 1));
  if (extent % count != 0)
    throw Unsupported("axis " + std::to_string(axis) + " of extent " + std::to_string(extent) + " does not split into " +
                      std::to_string(count) + " equal parts");
  return std::vector<int64_t>(static_cast<size_t>(count), extent / count);
}

}  // namespace

void lower_split_2(NodeContext& c) {
  const size_t axis = split_axis(c);
  const std::vector<int64_t> parts = c.attributes.integers("split");
  lower_split(c, parts.empty() ? equal_parts(c, axis) : parts, axis);
}

void lower_split_13(NodeContext& c) {
  const size_t axis = split_axis(c);
  lower_split(c, c.has(1) ? c.integers(1, "the list of parts") : equal_parts(c, axis), axis);
}

// num_outputs parts, of which the last may be smaller.
void lower_split_18(NodeContext& c) {
  const size_t axis = split_axis(c);
  const int64_t count = c.attributes.integer("num_outputs", 0);
  if (c.has(1)) return lower_split(c, c.integers(1, "the list of parts"), axis);
  if (count != static_cast<int64_t>(c.output_count())) throw Unsupported("attribute 'num_outputs' is not the number of its outputs");
  const int64_t extent = c.shape(c.input(0))[axis], chunk = (extent + count - 1) / count;
  std::vector<int64_t> parts(static_cast<size_t>(count), chunk);
  parts.back() = extent - chunk * (count - 1);
  lower_split(c, parts, axis);
}

}  // namespace actmatch::onnx_import
