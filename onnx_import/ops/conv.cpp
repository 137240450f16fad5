#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"
#include "onnx_import/ops/window.h"

namespace actmatch::onnx_import {
namespace {

// Three spatial axes: the sum, over the planes of the kernel, of convolutions of planes. Depth goes to the batch.
void lower_volume(NodeContext& c, const ConvAttrs& attrs, const Window& window) {
  const Shape shape = c.shape(c.input(0));
  PadAttrs depth{Shape(5, 0), Shape(5, 0), PadMode::kConstant, 0.0f};
  depth.before[2] = window.before[0];
  depth.after[2] = window.after[0];
  ValueId x = window.before[0] + window.after[0] > 0 ? c.step(depth, {c.input(0)}) : c.input(0);
  const int64_t room = c.shape(x)[2] - window.span(0);
  if (room < 0) throw Unsupported("the kernel is deeper than the padded input " + to_string(c.shape(x)));
  const int64_t planes = room / window.strides[0] + 1;
  if (window.kernel[0] > 1024) throw Unsupported("a kernel of " + std::to_string(window.kernel[0]) + " planes");
  x = transpose(c, x, {0, 2, 1, 3, 4});
  ValueId sum = kNoValue;
  for (int64_t z = 0; z < window.kernel[0]; ++z) {
    const ValueId part = slice(c, x, 1, z * window.dilations[0], planes, window.strides[0]);
    const ValueId w = slice(c, c.input(1), 2, z, 1);
    const Shape ws = c.shape(w);
    std::vector<ValueId> inputs{c.reshape(part, {shape[0] * planes, shape[1], shape[3], shape[4]}),
                                c.reshape(w, {ws[0], ws[1], ws[3], ws[4]})};
    if (z == 0 && c.has(2)) inputs.push_back(c.input(2));
    const ValueId y = c.step(attrs, std::move(inputs));
    sum = z == 0 ? y : add(c, sum, y);
  }
  const Shape y = c.shape(sum);
  c.alias(transpose(c, c.reshape(sum, {shape[0], planes, y[1], y[2], y[3]}), {0, 2, 1, 3, 4}));
}

}  // namespace

void lower_conv(NodeContext& c) {
  const size_t spatial = spatial_rank(c);
  Window window = read_window(c, spatial, kernel_of_weights(c, spatial));
  read_padding(c, window);
  const PlaneWindow plane = plane_of(window);
  ConvAttrs attrs{plane.strides, plane.pads, plane.dilations, c.attributes.integer("group", 1, 1)};
  if (spatial == 3) return lower_volume(c, attrs, window);
  std::vector<ValueId> inputs{with_two_axes(c, c.input(0), spatial), with_two_axes(c, c.input(1), spatial)};
  if (c.has(2)) inputs.push_back(c.input(2));
  window_result(c, attrs, std::move(inputs), spatial);
}

}  // namespace actmatch::onnx_import
