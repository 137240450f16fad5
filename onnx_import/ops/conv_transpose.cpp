#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"
#include "onnx_import/ops/window.h"

namespace actmatch::onnx_import {
namespace {

// Pads that give the wanted output, as the standard defines them from output_shape.
void pads_from_output(const NodeContext& c, const std::vector<int64_t>& wanted, bool upper, Window& window, std::vector<int64_t>& extra) {
  if (wanted.size() != window.axes()) throw Unsupported("attribute 'output_shape' must have one value for each spatial axis");
  const Shape& shape = c.shape(c.input(0));
  for (size_t i = 0; i < window.axes(); ++i) {
    int64_t total = window.strides[i] * (shape[i + 2] - 1) + extra[i] + window.span(i) - wanted[i];
    if (total < 0) {  // more than input and kernel reach: zeros at the end
      extra[i] -= total;
      total = 0;
    }
    split_padding(total, upper, i, window);
  }
}

// Three spatial axes: each plane of the kernel gives planes of the output, `stride` apart; they are spread with zeros between them, moved
// to where that plane of the kernel puts them, and added up.
void lower_volume(NodeContext& c, const ConvTransposeAttrs& attrs, const Window& window, int64_t extra) {
  const Shape shape = c.shape(c.input(0));
  const int64_t depth = shape[2], stride = window.strides[0];
  if (depth < 1) throw Unsupported("its input " + to_string(shape) + " is empty");
  if (window.kernel[0] > 1024) throw Unsupported("a kernel of " + std::to_string(window.kernel[0]) + " planes");
  const ValueId x = c.reshape(transpose(c, c.input(0), {0, 2, 1, 3, 4}), {shape[0] * depth, shape[1], shape[3], shape[4]});
  ValueId sum = kNoValue;
  Shape image;
  for (int64_t z = 0; z < window.kernel[0]; ++z) {
    const ValueId w = slice(c, c.input(1), 2, z, 1);
    const Shape ws = c.shape(w);
    ValueId y = c.step(attrs, {x, c.reshape(w, {ws[0], ws[1], ws[3], ws[4]})});
    image = c.shape(y);
    const int64_t plane = image[1] * image[2] * image[3];
    y = c.reshape(y, {shape[0], depth, 1, plane});
    if (stride > 1) y = c.step(PadAttrs{{0, 0, 0, 0}, {0, 0, stride - 1, 0}, PadMode::kConstant, 0.0f}, {y});
    y = c.reshape(y, {shape[0], depth * stride, plane});
    const int64_t before = z * window.dilations[0], after = window.span(0) - 1 - before + extra - (stride - 1);
    y = c.step(PadAttrs{{0, before, 0}, {0, after, 0}, PadMode::kConstant, 0.0f}, {y});
    sum = z == 0 ? y : add(c, sum, y);
  }
  const int64_t planes = c.shape(sum)[1] - window.before[0] - window.after[0];
  if (planes < 0) throw Unsupported("its pads are larger than the result");
  sum = c.reshape(slice(c, sum, 1, window.before[0], planes), {shape[0], planes, image[1], image[2], image[3]});
  sum = transpose(c, sum, {0, 2, 1, 3, 4});
  if (!c.has(2)) return c.alias(sum);
  c.result(BinaryAttrs{BinaryKind::kAdd}, {sum, c.reshape(c.input(2), {1, image[1], 1, 1, 1})});
}

}  // namespace

void lower_conv_transpose(NodeContext& c) {
  const size_t spatial = spatial_rank(c);
  Window window = read_window(c, spatial, kernel_of_weights(c, spatial));
  std::vector<int64_t> extra = c.attributes.integers("output_padding", 0, AttributeReader::kLargest);
  if (!extra.empty() && extra.size() != spatial) throw Unsupported("attribute 'output_padding' must have one value for each spatial axis");
  extra.resize(spatial, 0);
  const std::string mode = c.attributes.text("auto_pad", "NOTSET");
  std::vector<int64_t> wanted = c.attributes.integers("output_shape", 1, AttributeReader::kLargest);
  read_pads(c, window);
  if ((mode == "SAME_UPPER" || mode == "SAME_LOWER") && wanted.empty())
    for (size_t i = 0; i < spatial; ++i) wanted.push_back(c.shape(c.input(0))[i + 2] * window.strides[i]);
  if (!wanted.empty()) {
    pads_from_output(c, wanted, mode == "SAME_UPPER", window, extra);
  } else if (mode == "VALID") {
    window.before.assign(spatial, 0);
    window.after.assign(spatial, 0);
  } else if (mode != "NOTSET" && !mode.empty()) {
    throw Unsupported("attribute 'auto_pad' is '" + mode + "', which is not defined");
  }
  const PlaneWindow plane = plane_of(window);
  ConvTransposeAttrs attrs{plane.strides, plane.pads, plane.dilations, {0, 0}, c.attributes.integer("group", 1, 1)};
  attrs.output_padding = {spatial == 1 ? 0 : extra[spatial - 2], extra[spatial - 1]};
  if (spatial == 3) return lower_volume(c, attrs, window, extra[0]);
  std::vector<ValueId> inputs{with_two_axes(c, c.input(0), spatial), with_two_axes(c, c.input(1), spatial)};
  if (c.has(2)) inputs.push_back(c.input(2));
  window_result(c, attrs, std::move(inputs), spatial);
}

}  // namespace actmatch::onnx_import
