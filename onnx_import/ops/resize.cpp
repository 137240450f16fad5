#include <algorithm>
#include <cmath>

#include "onnx_import/ops/ops.h"

// Nearest resizing in all its variants, linear resizing with half-pixel centres; over the two spatial axes of NCHW.

namespace actmatch::onnx_import {
namespace {

struct Axis {
  int64_t in = 1, out = 1;
  double scale = 1.0;  // out / in, as the file says it
};

struct Plan {
  std::array<Axis, 2> axes;
  std::string mode = "nearest", coordinates = "asymmetric", rounding = "floor";
};

const Shape& image_shape(const NodeContext& c) {
  const Shape& shape = c.shape(c.input(0));
  if (shape.size() != 4) throw Unsupported("its input must be NCHW, not " + to_string(shape));
  for (int64_t extent : shape)
    if (extent < 1 || extent > AttributeReader::kLargest) throw Unsupported("its input " + to_string(shape) + " is out of range");
  return shape;
}

// Puts scales or sizes given for `listed` axes into the plan; those of batch and channels must be 1.
void set_scales(const NodeContext& c, const std::vector<float>& scales, const std::vector<int64_t>& listed, Plan& plan) {
  const Shape& shape = image_shape(c);
  if (scales.size() != listed.size())
    throw Unsupported("it has " + std::to_string(scales.size()) + " scales for " + std::to_string(listed.size()) + " axes");
  for (size_t i = 0; i < listed.size(); ++i) {
    const auto axis = static_cast<size_t>(listed[i]);
    const double scale = scales[i];
    const double out = std::floor(scale * static_cast<double>(shape[axis]));
    if (!(scale > 0) || !(out >= 1) || out > static_cast<double>(AttributeReader::kLargest))
      throw Unsupported("the scale " + std::to_string(scale) + " is out of range");
    if (axis >= 2)
      plan.axes[axis - 2] = {shape[axis], static_cast<int64_t>(out), scale};
    else if (scale != 1.0)
      throw Unsupported("batch and channels cannot be resized");
  }
}

void set_sizes(const NodeContext& c, const std::vector<int64_t>& sizes, const std::vector<int64_t>& listed, Plan& plan) {
  const Shape& shape = image_shape(c);
  const Shape* declared = c.declared_shape(0);  // the batch among the sizes may be the declared one
  if (sizes.size() != listed.size())
    throw Unsupported("it has " + std::to_string(sizes.size()) + " sizes for " + std::to_string(listed.size()) + " axes");
  for (size_t i = 0; i < listed.size(); ++i) {
    const auto axis = static_cast<size_t>(listed[i]);
    if (sizes[i] < 1 || sizes[i] > AttributeReader::kLargest)
      throw Unsupported("the size " + std::to_string(sizes[i]) + " is out of range");
    if (axis >= 2)
      plan.axes[axis - 2] = {shape[axis], sizes[i], static_cast<double>(sizes[i]) / static_cast<double>(shape[axis])};
    else if (sizes[i] != shape[axis] && !(declared && declared->size() == 4 && sizes[i] == (*declared)[axis]))
      throw Unsupported("batch and channels cannot be resized");
  }
}

double source_position(const Axis& axis, const std::string& coordinates, int64_t i) {
  const auto x = static_cast<double>(i);
  if (coordinates == "asymmetric") return x / axis.scale;
  if (coordinates == "half_pixel") return (x + 0.5) / axis.scale - 0.5;
  if (coordinates == "pytorch_half_pixel") return axis.out > 1 ? (x + 0.5) / axis.scale - 0.5 : 0.0;
  if (coordinates == "align_corners") return axis.out > 1 ? x * static_cast<double>(axis.in - 1) / static_cast<double>(axis.out - 1) : 0.0;
  throw Unsupported("the coordinate transformation '" + coordinates + "' is not supported");
}

// Which element of the input each position of the output shows.
std::vector<int64_t> nearest_sources(const Axis& axis, const Plan& plan) {
  std::vector<int64_t> sources;
  bounded_count({axis.out}, int64_t{1} << 20);
  for (int64_t i = 0; i < axis.out; ++i) {
    const double p = source_position(axis, plan.coordinates, i);
    double rounded = 0;
    if (plan.rounding == "floor") {
      rounded = std::floor(p);
    } else if (plan.rounding == "ceil") {
      rounded = std::ceil(p);
    } else if (plan.rounding == "round_prefer_floor") {
      rounded = std::ceil(p - 0.5);
    } else if (plan.rounding == "round_prefer_ceil") {
      rounded = std::floor(p + 0.5);
    } else {
      throw Unsupported("the rounding '" + plan.rounding + "' is not defined");
    }
    sources.push_back(std::clamp<int64_t>(static_cast<int64_t>(rounded), 0, axis.in - 1));
  }
  return sources;
}

void lower_nearest(NodeContext& c, const Plan& plan) {
  std::array<std::vector<int64_t>, 2> sources;
  bool plain = true;
  for (size_t a = 0; a < 2; ++a) {
    const Axis& axis = plan.axes[a];
    sources[a] = nearest_sources(axis, plan);
    for (int64_t i = 0; i < axis.out; ++i) plain = plain && sources[a][static_cast<size_t>(i)] == i * axis.in / axis.out;
  }
  if (plain) return c.result(ResizeAttrs{ResizeMode::kNearest, plan.axes[0].out, plan.axes[1].out}, {c.input(0)});
  const ValueId rows = c.step(GatherAttrs{2}, {c.input(0), c.vector(sources[0])});
  c.result(GatherAttrs{3}, {rows, c.vector(sources[1])});
}

void lower_plan(NodeContext& c, const Plan& plan) {
  const bool same_size = plan.axes[0].in == plan.axes[0].out && plan.axes[1].in == plan.axes[1].out;
  if (same_size && plan.axes[0].scale == 1.0 && plan.axes[1].scale == 1.0) return c.alias(c.input(0));
  if (plan.mode == "nearest") return lower_nearest(c, plan);
  if (plan.mode != "linear") throw Unsupported("the mode '" + plan.mode + "' is not supported; nearest and linear are");
  for (const Axis& axis : plan.axes) {
    const double exact = static_cast<double>(axis.out) / static_cast<double>(axis.in);
    // The graph's resize takes its scale from the extents; float scales like 0.333333 stand for them to rounding.
    if (std::abs(axis.scale - exact) > 1e-6 * exact)
      throw Unsupported("linear resizing by " + std::to_string(axis.scale) +
                        " does not end on a whole pixel; give sizes instead of scales");
    const bool half_pixel = plan.coordinates == "half_pixel" || (plan.coordinates == "pytorch_half_pixel" && axis.out > 1);
    if (!half_pixel && axis.in != axis.out)
      throw Unsupported("linear resizing is supported with half_pixel coordinates only, not '" + plan.coordinates + "'");
  }
  c.result(ResizeAttrs{ResizeMode::kLinear, plan.axes[0].out, plan.axes[1].out}, {c.input(0)});
}

std::vector<int64_t> all_axes() { return {0, 1, 2, 3}; }

Plan make_plan(const NodeContext& c) {
  const Shape& shape = image_shape(c);
  Plan plan;
  for (size_t a = 0; a < 2; ++a) plan.axes[a] = {shape[2 + a], shape[2 + a], 1.0};
  plan.mode = c.attributes.text("mode", "nearest");
  return plan;
}

std::vector<float> constant_scales(const NodeContext& c, size_t index) {
  const Tensor& tensor = c.need_constant(index, "the list of scales");
  if (tensor.dtype() != DType::kF32) throw Unsupported("its scales must be floats");
  const auto view = tensor.view<float>();
  return {view.begin(), view.end()};
}

void lower_resize(NodeContext& c, const std::vector<int64_t>& listed) {
  Plan plan = make_plan(c);
  plan.coordinates = c.attributes.text("coordinate_transformation_mode", "half_pixel");
  plan.rounding = c.attributes.text("nearest_mode", "round_prefer_floor");
  c.attributes.ignore("cubic_coeff_a");
  c.attributes.ignore("extrapolation_value");  // of tf_crop_and_resize, which is refused
  if (c.attributes.flag("exclude_outside", false) && plan.mode != "nearest") throw Unsupported("exclude_outside=1 is not supported");
  // An empty list stands for one that is left out.
  if (c.has(3) && c.need_constant(3, "the list of sizes").count() > 0) {
    set_sizes(c, c.integers(3, "the list of sizes"), listed, plan);
  } else if (c.has(2) && c.need_constant(2, "the list of scales").count() > 0) {
    set_scales(c, constant_scales(c, 2), listed, plan);
  } else {
    throw Unsupported("it has neither scales nor sizes; the file is damaged");
  }
  if (c.attributes.flag("antialias", false))
    for (const Axis& axis : plan.axes)
      if (axis.out < axis.in && plan.mode != "nearest") throw Unsupported("shrinking with antialias=1 is not supported");
  lower_plan(c, plan);
}

}  // namespace

void lower_upsample_7(NodeContext& c) {
  Plan plan = make_plan(c);
  set_scales(c, c.attributes.numbers("scales"), all_axes(), plan);
  lower_plan(c, plan);
}

void lower_upsample_9(NodeContext& c) {
  Plan plan = make_plan(c);
  set_scales(c, constant_scales(c, 1), all_axes(), plan);
  lower_plan(c, plan);
}

void lower_resize_10(NodeContext& c) { lower_upsample_9(c); }

void lower_resize_11(NodeContext& c) { lower_resize(c, all_axes()); }

void lower_resize_18(NodeContext& c) {
  const std::string policy = c.attributes.text("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch") throw Unsupported("keep_aspect_ratio_policy '" + policy + "' is not supported");
  std::vector<int64_t> listed = c.attributes.integers("axes");
  for (int64_t& axis : listed) axis = normalise_axis(axis, 4);
  lower_resize(c, listed.empty() ? all_axes() : listed);
}

}  // namespace actmatch::onnx_import
