#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/window.h"

namespace actmatch::onnx_import {
namespace {

// Pads that give the wanted output, as the standard defines them from output_shape.
void pads_from_output(const NodeContext& c, size_t spatial, const std::vector<int64_t>& wanted, bool upper, const Window& window,
                      ConvTransposeAttrs& attrs) {
  if (wanted.size() != spatial) throw Unsupported("attribute 'output_shape' must have one value for each spatial axis");
  const Shape& shape = c.shape(c.input(0));
  for (size_t i = 2 - spatial; i < 2; ++i) {
    const int64_t full =
        window.strides[i] * (shape[i + spatial] - 1) + attrs.output_padding[i] + (window.kernel[i] - 1) * window.dilations[i] + 1;
    int64_t total = full - wanted[i + spatial - 2];
    if (total < 0) {  // more than input and kernel reach: zeros at the end
      attrs.output_padding[i] -= total;
      total = 0;
    }
    split_padding(total, upper, i, attrs.pads);
  }
}

}  // namespace

void lower_conv_transpose(NodeContext& c) {
  const size_t spatial = spatial_rank(c);
  const Shape& weights = c.need_constant(1, "the weights").shape();
  if (weights.size() != spatial + 2)
    throw Unsupported("the weights have the shape " + to_string(weights) + ", which does not fit the input " +
                      to_string(c.shape(c.input(0))));
  const Window window = read_window(c, spatial, {weights.begin() + 2, weights.end()});

  ConvTransposeAttrs attrs;
  attrs.strides = window.strides;
  attrs.dilations = window.dilations;
  attrs.groups = c.attributes.integer("group", 1, 1);
  const std::vector<int64_t> extra = c.attributes.integers("output_padding", 0, AttributeReader::kLargest);
  if (!extra.empty() && extra.size() != spatial) throw Unsupported("attribute 'output_padding' must have one value for each spatial axis");
  for (size_t i = 0; i < extra.size(); ++i) attrs.output_padding[i + 2 - spatial] = extra[i];

  const std::string mode = c.attributes.text("auto_pad", "NOTSET");
  std::vector<int64_t> wanted = c.attributes.integers("output_shape", 1, AttributeReader::kLargest);
  attrs.pads = read_pads(c, spatial);
  const bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  if (same && wanted.empty()) {
    const Shape& shape = c.shape(c.input(0));
    for (size_t i = 2 - spatial; i < 2; ++i) wanted.push_back(shape[i + spatial] * window.strides[i]);
  }
  if (!wanted.empty()) {
    pads_from_output(c, spatial, wanted, mode == "SAME_UPPER", window, attrs);
  } else if (mode == "VALID") {
    attrs.pads = {0, 0, 0, 0};
  } else if (mode != "NOTSET" && !mode.empty()) {
    throw Unsupported("attribute 'auto_pad' is '" + mode + "', which is not defined");
  }
  std::vector<ValueId> inputs{with_two_axes(c, c.input(0), spatial), with_two_axes(c, c.input(1), spatial)};
  if (c.has(2)) inputs.push_back(c.input(2));
  window_result(c, attrs, std::move(inputs), spatial);
}

}  // namespace actmatch::onnx_import
