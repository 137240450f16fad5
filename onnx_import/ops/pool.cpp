#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/window.h"

namespace actmatch::onnx_import {
namespace {

void lower_pool(NodeContext& c, PoolMode mode) {
  const size_t spatial = spatial_rank(c);
  Window window = read_window(c, spatial, {});
  read_padding(c, spatial, window);
  PoolAttrs attrs;
  attrs.mode = mode;
  attrs.kernel = window.kernel;
  attrs.strides = window.strides;
  attrs.pads = window.pads;
  attrs.dilations = window.dilations;
  // SAME padding makes every window whole, so that rounding up changes nothing.
  attrs.ceil_mode = c.attributes.flag("ceil_mode", false) && !c.attributes.text("auto_pad", "").starts_with("SAME");
  window_result(c, attrs, {with_two_axes(c, c.input(0), spatial)}, spatial);
}

}  // namespace

void lower_max_pool(NodeContext& c) {
  c.attributes.ignore("storage_order");  // concerns the indices only
  c.refuse_output(1, "Indices");
  lower_pool(c, PoolMode::kMax);
}

void lower_average_pool(NodeContext& c) {
  const bool include_pad = c.attributes.flag("count_include_pad", false);
  lower_pool(c, include_pad ? PoolMode::kAverageIncludePad : PoolMode::kAverageExcludePad);
}

}  // namespace actmatch::onnx_import
