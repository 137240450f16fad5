// What convolutions and poolings share: their windows over one to three spatial axes, and auto_pad. The graph's operators have two axes;
// one is made two, and three are taken apart (planes first, then depth).
#pragma once

#include <array>

#include "onnx_import/node_context.h"

namespace actmatch::onnx_import {

// One entry for each spatial axis.
struct Window {
  std::vector<int64_t> kernel, strides, dilations, before, after;
  size_t axes() const { return kernel.size(); }
  int64_t span(size_t axis) const { return dilations[axis] * (kernel[axis] - 1) + 1; }
};

// The last two axes in the form of the graph's attributes, with a window of one element in front of a single axis.
struct PlaneWindow {
  std::array<int64_t, 2> kernel{1, 1}, strides{1, 1}, dilations{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right
};
PlaneWindow plane_of(const Window& window);

// The spatial rank of input 0: 1, 2 or 3; throws otherwise.
size_t spatial_rank(const NodeContext& c);
// Reads kernel_shape, strides, dilations; `kernel`: that of the weights, empty for poolings. Pads are left at 0.
Window read_window(const NodeContext& c, size_t spatial, const std::vector<int64_t>& kernel);
// Sets the pads (not negative) from the attribute; none are left at 0.
void read_pads(const NodeContext& c, Window& window);
// Sets the pads from `pads` or `auto_pad` for an operator that reads input 0 through the window.
void read_padding(const NodeContext& c, Window& window);
// The smaller part of an odd total goes first for SAME_UPPER, last for SAME_LOWER.
void split_padding(int64_t total, bool upper, size_t axis, Window& window);

// The kernel of input 1, which must have `spatial` axes behind two others.
std::vector<int64_t> kernel_of_weights(const NodeContext& c, size_t spatial);

// NxCxL -> NxCx1xL for spatial rank 1; the value itself otherwise.
ValueId with_two_axes(NodeContext& c, ValueId x, size_t spatial);
// Ends the lowering with a node over two axes, whose result loses the first of them again for spatial rank 1.
void window_result(NodeContext& c, Attributes attrs, std::vector<ValueId> inputs, size_t spatial);

}  // namespace actmatch::onnx_import
