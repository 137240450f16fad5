#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/window.h"

namespace actmatch::onnx_import {

void lower_conv(NodeContext& c) {
  const size_t spatial = spatial_rank(c);
  const Shape& weights = c.need_constant(1, "the weights").shape();
  if (weights.size() != spatial + 2)
    throw Unsupported("the weights have the shape " + to_string(weights) + ", which does not fit the input " +
                      to_string(c.shape(c.input(0))));
  Window window = read_window(c, spatial, {weights.begin() + 2, weights.end()});
  read_padding(c, spatial, window);

  ConvAttrs attrs;
  attrs.strides = window.strides;
  attrs.pads = window.pads;
  attrs.dilations = window.dilations;
  attrs.groups = c.attributes.integer("group", 1, 1);
  std::vector<ValueId> inputs{with_two_axes(c, c.input(0), spatial), with_two_axes(c, c.input(1), spatial)};
  if (c.has(2)) inputs.push_back(c.input(2));
  window_result(c, attrs, std::move(inputs), spatial);
}

}  // namespace actmatch::onnx_import
