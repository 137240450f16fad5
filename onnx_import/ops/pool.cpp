#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"
#include "onnx_import/ops/window.h"

namespace actmatch::onnx_import {
namespace {

// SAME padding makes every window whole, so that rounding up changes nothing.
bool rounds_up(const NodeContext& c) {
  return c.attributes.flag("ceil_mode", false) && !c.attributes.text("auto_pad", "").starts_with("SAME");
}

PoolAttrs attributes_of(const PlaneWindow& plane, PoolMode mode, bool ceil_mode) {
  return {mode, plane.kernel, plane.strides, plane.pads, plane.dilations, ceil_mode};
}

// Three spatial axes: planes, then depth. The number of elements in a window is a product over the axes, so that this holds for means too.
void pool_volume(NodeContext& c, ValueId x, PoolMode mode, const Window& window) {
  const Shape shape = c.shape(x);
  const bool ceil_mode = rounds_up(c);
  const ValueId planes =
      c.step(attributes_of(plane_of(window), mode, ceil_mode), {c.reshape(x, {shape[0], shape[1] * shape[2], shape[3], shape[4]})});
  const Shape plane = c.shape(planes);
  PlaneWindow depth;
  depth.kernel[0] = window.kernel[0];
  depth.strides[0] = window.strides[0];
  depth.dilations[0] = window.dilations[0];
  depth.pads = {window.before[0], 0, window.after[0], 0};
  const ValueId y = c.step(attributes_of(depth, mode, ceil_mode),
                           {c.reshape(planes, {shape[0], shape[1], shape[2], plane[2] * plane[3]})});
  c.result(ReshapeAttrs{{shape[0], shape[1], c.shape(y)[2], plane[2], plane[3]}}, {y});
}

void lower_pool(NodeContext& c, PoolMode mode) {
  const size_t spatial = spatial_rank(c);
  Window window = read_window(c, spatial, {});
  read_padding(c, window);
  const ValueId given = c.input(0), x = c.cast(given, DType::kF32);
  if (spatial == 3) return pool_volume(c, x, mode, window);
  const PoolAttrs attrs = attributes_of(plane_of(window), mode, rounds_up(c));
  if (c.dtype(given) == DType::kF32) return window_result(c, attrs, {with_two_axes(c, x, spatial)}, spatial);
  // Integers of 8 bits, which floats hold exactly.
  const ValueId y = c.cast(c.step(attrs, {with_two_axes(c, x, spatial)}), c.dtype(given));
  Shape shape = c.shape(y);
  if (spatial == 1) shape.erase(shape.begin() + 2);
  c.result(ReshapeAttrs{std::move(shape)}, {y});
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

namespace {

ValueId powers(NodeContext& c, ValueId x, int64_t p) {
  const ValueId size = unary(c, UnaryKind::kAbs, x);
  if (p == 1) return size;
  if (p == 2) return multiply(c, x, x);
  return binary(c, BinaryKind::kPow, size, c.scalar(static_cast<float>(p)));
}

ValueId root(NodeContext& c, ValueId x, int64_t p) {
  if (p == 1) return x;
  if (p == 2) return unary(c, UnaryKind::kSqrt, x);
  return binary(c, BinaryKind::kPow, x, c.scalar(1.0f / static_cast<float>(p)));
}

}  // namespace

// (sum of |x|^p)^(1/p) over a window; the sum is a convolution with ones, channel by channel.
void lower_lp_pool(NodeContext& c) {
  const size_t spatial = spatial_rank(c);
  if (spatial == 3) throw Unsupported("three spatial axes are not supported");
  const int64_t p = c.attributes.integer("p", 2, 1, 64);
  Window window = read_window(c, spatial, {});
  read_padding(c, window);
  const Shape given = c.shape(c.input(0));
  if (rounds_up(c))
    for (size_t i = 0; i < spatial; ++i) {  // windows that stick out at the end find zeros there
      const int64_t room = given[i + 2] + window.before[i] + window.after[i] - window.span(i), rest = room % window.strides[i];
      if (room < 0 || rest == 0) continue;
      // Unless they would start behind the input.
      if ((room / window.strides[i] + 1) * window.strides[i] < given[i + 2] + window.before[i]) window.after[i] += window.strides[i] - rest;
    }
  const PlaneWindow plane = plane_of(window);
  const Shape shape = c.shape(with_two_axes(c, c.input(0), spatial));
  const ValueId x = c.reshape(powers(c, c.input(0), p), {shape[0] * shape[1], 1, shape[2], shape[3]});
  const ValueId ones = expand(c, c.reshape(c.scalar(1.0f), {1, 1, 1, 1}), {1, 1, plane.kernel[0], plane.kernel[1]});
  const ValueId y = root(c, c.step(ConvAttrs{plane.strides, plane.pads, plane.dilations, 1}, {x, ones}), p);
  Shape result{shape[0], shape[1], c.shape(y)[2], c.shape(y)[3]};
  if (spatial == 1) result.erase(result.begin() + 2);
  c.result(ReshapeAttrs{std::move(result)}, {y});
}

void lower_global_lp_pool(NodeContext& c) {
  const ValueId x = c.input(0);
  const int64_t p = c.attributes.integer("p", 2, 1, 64);
  if (c.rank(x) < 3) throw Unsupported("its input has the shape " + to_string(c.shape(x)) + " and no spatial axes");
  c.alias(root(c, reduce(c, ReduceKind::kSum, axes_from(2, c.rank(x)), powers(c, x, p)), p));
}

}  // namespace actmatch::onnx_import
