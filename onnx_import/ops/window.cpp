#include "onnx_import/ops/window.h"

#include <algorithm>

namespace actmatch::onnx_import {
namespace {

constexpr int64_t kLargest = AttributeReader::kLargest;

// One value an axis; 1 where the attribute is left out.
std::vector<int64_t> by_axis(const NodeContext& c, const char* name, std::vector<int64_t> values, size_t spatial) {
  if (values.empty()) return std::vector<int64_t>(spatial, 1);
  if (values.size() != spatial)
    throw Unsupported(std::string("attribute '") + name + "' has " + std::to_string(values.size()) + " values for " +
                      std::to_string(spatial) + " spatial axes of " + c.op());
  return values;
}

}  // namespace

size_t spatial_rank(const NodeContext& c) {
  const Shape& shape = c.shape(c.input(0));
  if (shape.size() < 3 || shape.size() > 5)
    throw Unsupported("its input has the shape " + to_string(shape) + "; only one to three spatial axes (NCL, NCHW, NCDHW) are supported");
  return shape.size() - 2;
}

std::vector<int64_t> kernel_of_weights(const NodeContext& c, size_t spatial) {
  const Shape& weights = c.shape(c.input(1));
  if (weights.size() != spatial + 2)
    throw Unsupported("the weights have the shape " + to_string(weights) + ", which does not fit the input " +
                      to_string(c.shape(c.input(0))));
  return {weights.begin() + 2, weights.end()};
}

Window read_window(const NodeContext& c, size_t spatial, const std::vector<int64_t>& kernel) {
  Window window;
  std::vector<int64_t> declared = c.attributes.integers("kernel_shape", 1, kLargest);
  if (declared.empty()) {
    if (kernel.empty()) throw Unsupported("attribute 'kernel_shape' is missing; the file is damaged");
    declared = kernel;
  }
  if (!kernel.empty() && declared != kernel)
    throw Unsupported("attribute 'kernel_shape' (" + to_string(declared) + ") is not that of the weights (" + to_string(kernel) + ")");
  window.kernel = by_axis(c, "kernel_shape", declared, spatial);
  window.strides = by_axis(c, "strides", c.attributes.integers("strides", 1, kLargest), spatial);
  window.dilations = by_axis(c, "dilations", c.attributes.integers("dilations", 1, kLargest), spatial);
  window.before.assign(spatial, 0);
  window.after.assign(spatial, 0);
  return window;
}

void read_pads(const NodeContext& c, Window& window) {
  const std::vector<int64_t> pads = c.attributes.integers("pads", 0, kLargest);
  if (pads.empty()) return;
  const auto spatial = static_cast<std::ptrdiff_t>(window.axes());
  if (pads.size() != 2 * window.axes())
    throw Unsupported("attribute 'pads' has " + std::to_string(pads.size()) + " values for " + std::to_string(spatial) + " spatial axes");
  window.before.assign(pads.begin(), pads.begin() + spatial);
  window.after.assign(pads.begin() + spatial, pads.end());
}

void split_padding(int64_t total, bool upper, size_t axis, Window& window) {
  const int64_t smaller = total / 2, larger = total - smaller;
  window.before[axis] = upper ? smaller : larger;
  window.after[axis] = upper ? larger : smaller;
}

void read_padding(const NodeContext& c, Window& window) {
  const std::string mode = c.attributes.text("auto_pad", "NOTSET");
  read_pads(c, window);
  if (mode == "NOTSET" || mode.empty()) return;
  std::fill(window.before.begin(), window.before.end(), 0);
  std::fill(window.after.begin(), window.after.end(), 0);
  if (mode == "VALID") return;
  if (mode != "SAME_UPPER" && mode != "SAME_LOWER") throw Unsupported("attribute 'auto_pad' is '" + mode + "', which is not defined");
  const Shape& shape = c.shape(c.input(0));
  for (size_t i = 0; i < window.axes(); ++i) {
    const int64_t extent = shape[i + 2], stride = window.strides[i];
    const int64_t out = extent / stride + (extent % stride != 0);
    split_padding(std::max<int64_t>((out - 1) * stride + window.span(i) - extent, 0), mode == "SAME_UPPER", i, window);
  }
}

PlaneWindow plane_of(const Window& window) {
  PlaneWindow plane;
  const size_t axes = std::min<size_t>(window.axes(), 2), skipped = window.axes() - axes;
  for (size_t i = 0; i < axes; ++i) {
    const size_t to = i + 2 - axes, from = i + skipped;
    plane.kernel[to] = window.kernel[from];
    plane.strides[to] = window.strides[from];
    plane.dilations[to] = window.dilations[from];
    plane.pads[to] = window.before[from];
    plane.pads[2 + to] = window.after[from];
  }
  return plane;
}

ValueId with_two_axes(NodeContext& c, ValueId x, size_t spatial) {
  if (spatial == 2) return x;
  const Shape& shape = c.shape(x);
  return c.reshape(x, {shape[0], shape[1], 1, shape[2]});
}

void window_result(NodeContext& c, Attributes attrs, std::vector<ValueId> inputs, size_t spatial) {
  if (spatial == 2) return c.result(std::move(attrs), std::move(inputs));
  const ValueId y = c.step(std::move(attrs), std::move(inputs));
  const Shape& shape = c.shape(y);
  c.result(ReshapeAttrs{{shape[0], shape[1], shape[3]}}, {y});
}

}  // namespace actmatch::onnx_import
