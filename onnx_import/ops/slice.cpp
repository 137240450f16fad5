#include <algorithm>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/rebatch.h"

namespace actmatch::onnx_import {
namespace {

struct Range {
  int64_t start = 0, step = 1, size = 0;
};

// Python's slice of an axis: negative positions count from the end, and what lies outside is clamped.
Range clamp_range(int64_t extent, int64_t start, int64_t end, int64_t step) {
  if (step == 0) throw Unsupported("a step is 0");
  if (extent == 0) return {0, 1, 0};
  step = std::clamp(step, -extent, extent);  // longer steps reach one element, as these do
  const auto position = [&](int64_t p) { return p < 0 ? p + extent : p; };
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? extent : extent - 1;
  start = std::clamp(position(start), std::max<int64_t>(low, 0), high);
  end = std::clamp(position(end), low, high);
  const int64_t span = step > 0 ? end - start : start - end, stride = step > 0 ? step : -step;
  const int64_t size = span > 0 ? (span + stride - 1) / stride : 0;
  return size == 0 ? Range{0, 1, 0} : Range{start, step, size};
}

void lower_slice(NodeContext& c, const std::vector<int64_t>& starts, const std::vector<int64_t>& ends, std::vector<int64_t> axes,
                 std::vector<int64_t> steps) {
  const ValueId x = c.input(0);
  const Shape& shape = c.shape(x);
  if (axes.empty())
    for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (steps.empty()) steps.assign(starts.size(), 1);
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    throw Unsupported("starts, ends, axes and steps differ in length; the file is damaged");

  const Shape* declared = c.declared_shape(0);
  const std::optional<Growth> found = declared ? find_growth(*declared, shape) : std::nullopt;
  const Growth growth = found.value_or(Growth{shape.size()});
  SliceAttrs attrs{Shape(shape.size(), 0), Shape(shape.size(), 1), shape};
  std::vector<bool> seen(shape.size(), false);
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(normalise_axis(axes[i], c.rank(x)));
    if (seen[axis]) throw Unsupported("axis " + std::to_string(axis) + " is sliced twice");
    seen[axis] = true;
    if (growth.axis == axis) {
      const Range at_declared = clamp_range(growth.from, starts[i], ends[i], steps[i]);
      if (at_declared.size == growth.from && at_declared.step == 1) continue;  // the whole batch, whatever its size
    }
    const Range range = clamp_range(shape[axis], starts[i], ends[i], steps[i]);
    attrs.starts[axis] = range.start;
    attrs.steps[axis] = range.step;
    attrs.sizes[axis] = range.size;
  }
  const bool whole = attrs.sizes == shape && std::all_of(attrs.steps.begin(), attrs.steps.end(), [](int64_t step) { return step > 0; });
  if (whole) return c.alias(x);
  c.result(std::move(attrs), {x});
}

}  // namespace

void lower_slice_1(NodeContext& c) {
  lower_slice(c, c.attributes.integers("starts"), c.attributes.integers("ends"), c.attributes.integers("axes"), {});
}

void lower_slice_10(NodeContext& c) {
  const auto optional = [&](size_t index, const char* what) { return c.has(index) ? c.integers(index, what) : std::vector<int64_t>{}; };
  lower_slice(c, c.integers(1, "the list of starts"), c.integers(2, "the list of ends"), optional(3, "the list of axes"),
              optional(4, "the list of steps"));
}

}  // namespace actmatch::onnx_import
