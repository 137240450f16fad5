#include <algorithm>

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
ValueId pool_volume(NodeContext& c, ValueId x, PoolMode mode, const Window& window) {
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
  const ValueId y = c.step(attributes_of(depth, mode, ceil_mode), {c.reshape(planes, {shape[0], shape[1], shape[2], plane[2] * plane[3]})});
  return c.reshape(y, {shape[0], shape[1], c.shape(y)[2], plane[2], plane[3]});
}

ValueId pooled(NodeContext& c, ValueId x, PoolMode mode, const Window& window) {
  if (window.axes() == 3) return pool_volume(c, x, mode, window);
  const ValueId y = c.step(attributes_of(plane_of(window), mode, rounds_up(c)), {with_two_axes(c, x, window.axes())});
  Shape shape = c.shape(y);
  if (window.axes() == 1) shape.erase(shape.begin() + 2);
  return c.reshape(y, shape);
}

// A mean that counts the padding, with windows that reach past it, where nothing counts: the padding becomes part of the input. No window
// starts there all the same.
ValueId pooled_with_padding(NodeContext& c, ValueId x, const Window& window) {
  const Shape shape = c.shape(x);
  PadAttrs attrs{Shape(shape.size(), 0), Shape(shape.size(), 0), PadMode::kConstant, 0.0f};
  std::copy(window.before.begin(), window.before.end(), attrs.before.begin() + 2);
  std::copy(window.after.begin(), window.after.end(), attrs.after.begin() + 2);
  Window bare = window;
  bare.before.assign(window.axes(), 0);
  bare.after.assign(window.axes(), 0);
  ValueId y = pooled(c, c.step(std::move(attrs), {x}), PoolMode::kAverageExcludePad, bare);
  for (size_t i = 0; i < window.axes(); ++i) {
    const int64_t starts = (shape[i + 2] + window.before[i] + window.strides[i] - 1) / window.strides[i];
    y = slice(c, y, i + 2, 0, std::min(starts, c.shape(y)[i + 2]));
  }
  return y;
}

void lower_pool(NodeContext& c, PoolMode mode) {
  const size_t spatial = spatial_rank(c);
  Window window = read_window(c, spatial, {});
  read_padding(c, window);
  const ValueId given = c.input(0);
  const auto none = [](const std::vector<int64_t>& pads) {
    return std::all_of(pads.begin(), pads.end(), [](int64_t p) { return p == 0; });
  };
  const bool reaches_past = mode == PoolMode::kAverageIncludePad && rounds_up(c);
  if (reaches_past && !(none(window.before) && none(window.after))) return c.alias(pooled_with_padding(c, given, window));
  if (reaches_past) mode = PoolMode::kAverageExcludePad;
  if (c.dtype(given) == DType::kF32 && spatial < 3)
    return window_result(c, attributes_of(plane_of(window), mode, rounds_up(c)), {with_two_axes(c, given, spatial)}, spatial);
  // Integers of 8 bits are held by floats exactly.
  c.alias(c.cast(pooled(c, c.cast(given, DType::kF32), mode, window), c.dtype(given)));
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

namespace {

// Of images with one channel: a convolution with ones.
ValueId window_sum(NodeContext& c, ValueId x, const PlaneWindow& window) {
  const ValueId ones = expand(c, c.reshape(c.scalar(1.0f), {1, 1, 1, 1}), {1, 1, window.kernel[0], window.kernel[1]});
  return c.step(ConvAttrs{window.strides, window.pads, window.dilations, 1}, {x, ones});
}

}  // namespace

// (sum of |x|^p)^(1/p) over a window; three axes as in pool_volume.
void lower_lp_pool(NodeContext& c) {
  const size_t spatial = spatial_rank(c);
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
  Shape shape = given;
  if (spatial == 1) shape.insert(shape.begin() + 2, 1);
  const PlaneWindow plane = plane_of(window);
  const int64_t images = spatial == 3 ? shape[0] * shape[1] * shape[2] : shape[0] * shape[1];
  ValueId y = window_sum(c, c.reshape(powers(c, c.input(0), p), {images, 1, shape[spatial == 3 ? 3 : 2], shape.back()}), plane);
  Shape result{given[0], given[1], c.shape(y)[2], c.shape(y)[3]};
  if (spatial == 1) result.erase(result.begin() + 2);
  if (spatial == 3) {
    PlaneWindow depth;
    depth.kernel[0] = window.kernel[0];
    depth.strides[0] = window.strides[0];
    depth.dilations[0] = window.dilations[0];
    depth.pads = {window.before[0], 0, window.after[0], 0};
    y = window_sum(c, c.reshape(y, {given[0] * given[1], 1, given[2], result[2] * result[3]}), depth);
    result.insert(result.begin() + 2, c.shape(y)[2]);
  }
  c.result(ReshapeAttrs{std::move(result)}, {root(c, y, p)});
}

void lower_global_lp_pool(NodeContext& c) {
  const ValueId x = c.input(0);
  const int64_t p = c.attributes.integer("p", 2, 1, 64);
  if (c.rank(x) < 3) throw Unsupported("its input has the shape " + to_string(c.shape(x)) + " and no spatial axes");
  c.alias(root(c, reduce(c, ReduceKind::kSum, axes_from(2, c.rank(x)), powers(c, x, p)), p));
}

}  // namespace actmatch::onnx_import
