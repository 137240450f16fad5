#include "onnx_import/ops/window.h"

#include <algorithm>

namespace actmatch::onnx_import {
namespace {

constexpr int64_t kLargest = AttributeReader::kLargest;

// One value an axis, with a 1 in front for the axis that a 1-D operator gains.
std::array<int64_t, 2> pair(const NodeContext& c, const char* name, std::vector<int64_t> values, size_t spatial) {
  if (values.empty()) return {1, 1};
  if (values.size() != spatial)
    throw Unsupported(std::string("attribute '") + name + "' has " + std::to_string(values.size()) + " values for " +
                      std::to_string(spatial) + " spatial axes of " + c.op());
  if (spatial == 1) values.insert(values.begin(), 1);
  return {values[0], values[1]};
}

}  // namespace

size_t spatial_rank(const NodeContext& c) {
  const Shape& shape = c.shape(c.input(0));
  if (shape.size() != 3 && shape.size() != 4)
    throw Unsupported("its input has the shape " + to_string(shape) + "; only one or two spatial axes (NCL, NCHW) are supported");
  return shape.size() - 2;
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
  window.kernel = pair(c, "kernel_shape", declared, spatial);
  window.strides = pair(c, "strides", c.attributes.integers("strides", 1, kLargest), spatial);
  window.dilations = pair(c, "dilations", c.attributes.integers("dilations", 1, kLargest), spatial);
  return window;
}

std::array<int64_t, 4> read_pads(const NodeContext& c, size_t spatial) {
  const std::vector<int64_t> pads = c.attributes.integers("pads", 0, kLargest);
  if (pads.empty()) return {0, 0, 0, 0};
  if (pads.size() != 2 * spatial)
    throw Unsupported("attribute 'pads' has " + std::to_string(pads.size()) + " values for " + std::to_string(spatial) + " spatial axes");
  if (spatial == 1) return {0, pads[0], 0, pads[1]};
  return {pads[0], pads[1], pads[2], pads[3]};
}

void split_padding(int64_t total, bool upper, size_t axis, std::array<int64_t, 4>& pads) {
  const int64_t smaller = total / 2, larger = total - smaller;
  pads[axis] = upper ? smaller : larger;
  pads[2 + axis] = upper ? larger : smaller;
}

void read_padding(const NodeContext& c, size_t spatial, Window& window) {
  const std::string mode = c.attributes.text("auto_pad", "NOTSET");
  const std::array<int64_t, 4> pads = read_pads(c, spatial);
  if (mode == "NOTSET" || mode.empty()) {
    window.pads = pads;
  } else if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
    const Shape& shape = c.shape(c.input(0));
    for (size_t i = 2 - spatial; i < 2; ++i) {
      const int64_t extent = shape[i + spatial], stride = window.strides[i];
      const int64_t out = extent / stride + (extent % stride != 0);
      const int64_t total = (out - 1) * stride + (window.kernel[i] - 1) * window.dilations[i] + 1 - extent;
      split_padding(std::max<int64_t>(total, 0), mode == "SAME_UPPER", i, window.pads);
    }
  } else if (mode != "VALID") {
    throw Unsupported("attribute 'auto_pad' is '" + mode + "', which is not defined");
  }
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
