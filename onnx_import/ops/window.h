// What convolutions and poolings share: two spatial axes, 1-D ones made two, and auto_pad.
#pragma once

#include <array>

#include "onnx_import/node_context.h"

namespace actmatch::onnx_import {

struct Window {
  std::array<int64_t, 2> kernel{1, 1}, strides{1, 1}, dilations{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right
};

// The spatial rank of input 0: 1 or 2; throws otherwise.
size_t spatial_rank(const NodeContext& c);

// Reads kernel_shape, strides, dilations; `kernel`: that of the weights, empty for poolings. Pads are left at 0.
Window read_window(const NodeContext& c, size_t spatial, const std::vector<int64_t>& kernel);
// The pads attribute (not negative), in the window's order.
std::array<int64_t, 4> read_pads(const NodeContext& c, size_t spatial);
// Sets the pads from `pads` or `auto_pad` for an operator that reads input 0 through the window.
void read_padding(const NodeContext& c, size_t spatial, Window& window);
// The smaller part of an odd total goes first for SAME_UPPER, last for SAME_LOWER.
void split_padding(int64_t total, bool upper, size_t axis, std::array<int64_t, 4>& pads);

// NxCxL -> NxCx1xL for spatial rank 1; the value itself otherwise.
ValueId with_two_axes(NodeContext& c, ValueId x, size_t spatial);
// Ends the lowering with a node over two axes, whose result loses the first of them again for spatial rank 1.
void window_result(NodeContext& c, Attributes attrs, std::vector<ValueId> inputs, size_t spatial);

}  // namespace actmatch::onnx_import
