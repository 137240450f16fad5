// Resizing in all modes, over any axes. It works axis by axis: nearest picks slices, and everything else is a product with a matrix of
// weights, a row for each position of the output. The common cases, two spatial axes of NCHW with half-pixel centres or plain nearest, are
// operators of the graph.
#include <algorithm>
#include <cmath>
#include <limits>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

struct Axis {
  size_t axis = 0;
  int64_t in = 1, out = 1;
  double scale = 1.0;             // out / in, as the file says it
  double start = 0.0, end = 1.0;  // the region of tf_crop_and_resize, in parts of the input
  bool changes(const std::string& coordinates) const {
    return in != out || scale != 1.0 || (coordinates == "tf_crop_and_resize" && (start != 0.0 || end != 1.0));
  }
};

struct Plan {
  std::vector<Axis> axes;  // one for each axis of the input
  std::string mode = "nearest", coordinates = "asymmetric", rounding = "floor";
  double cubic = -0.75;
  bool antialias = false, exclude_outside = false;
  float extrapolation = 0.0f;
};

const Shape& checked_shape(const NodeContext& c) {
  const Shape& shape = c.shape(c.input(0));
  for (int64_t extent : shape)
    if (extent < 1 || extent > AttributeReader::kLargest) throw Unsupported("its input " + to_string(shape) + " is out of range");
  return shape;
}

Plan make_plan(const NodeContext& c) {
  const Shape& shape = checked_shape(c);
  Plan plan;
  for (size_t i = 0; i < shape.size(); ++i) plan.axes.push_back({i, shape[i], shape[i]});
  plan.mode = c.attributes.text("mode", "nearest");
  return plan;
}

void set_scales(const std::vector<float>& scales, const std::vector<int64_t>& listed, Plan& plan) {
  if (scales.size() != listed.size())
    throw Unsupported("it has " + std::to_string(scales.size()) + " scales for " + std::to_string(listed.size()) + " axes");
  for (size_t i = 0; i < listed.size(); ++i) {
    Axis& axis = plan.axes[static_cast<size_t>(listed[i])];
    axis.scale = scales[i];
    const double part = plan.coordinates == "tf_crop_and_resize" ? axis.end - axis.start : 1.0;
    const double out = std::floor(axis.scale * static_cast<double>(axis.in) * part);
    if (!(axis.scale > 0) || !(out >= 1) || out > static_cast<double>(AttributeReader::kLargest))
      throw Unsupported("the scale " + std::to_string(axis.scale) + " is out of range");
    axis.out = static_cast<int64_t>(out);
  }
}

void set_sizes(const NodeContext& c, const std::vector<int64_t>& sizes, const std::vector<int64_t>& listed, const std::string& policy,
               Plan& plan) {
  if (sizes.size() != listed.size())
    throw Unsupported("it has " + std::to_string(sizes.size()) + " sizes for " + std::to_string(listed.size()) + " axes");
  const Shape* declared = c.declared_shape(0);
  double common = policy == "not_larger" ? std::numeric_limits<double>::infinity() : 0.0;
  for (size_t i = 0; i < listed.size(); ++i) {
    Axis& axis = plan.axes[static_cast<size_t>(listed[i])];
    if (sizes[i] < 1 || sizes[i] > AttributeReader::kLargest)
      throw Unsupported("the size " + std::to_string(sizes[i]) + " is out of range");
    // The batch among the sizes may be the declared one.
    const bool batch = declared && declared->size() == plan.axes.size() && (*declared)[axis.axis] != axis.in;
    axis.out = batch && sizes[i] == (*declared)[axis.axis] ? axis.in : sizes[i];
    axis.scale = static_cast<double>(axis.out) / static_cast<double>(axis.in);
    common = policy == "not_larger" ? std::min(common, axis.scale) : std::max(common, axis.scale);
  }
  if (policy == "stretch") return;
  if (policy != "not_larger" && policy != "not_smaller") throw Unsupported("keep_aspect_ratio_policy '" + policy + "' is not defined");
  for (int64_t i : listed) {
    Axis& axis = plan.axes[static_cast<size_t>(i)];
    axis.scale = common;
    axis.out = std::max<int64_t>(1, static_cast<int64_t>(std::floor(common * static_cast<double>(axis.in) + 0.5)));
  }
}

// Where position i of the output lies in the input.
double source_position(const Axis& axis, const std::string& coordinates, int64_t i) {
  const auto x = static_cast<double>(i), in = static_cast<double>(axis.in);
  const double out = axis.scale * in;  // not rounded to whole positions
  if (coordinates == "asymmetric") return x / axis.scale;
  if (coordinates == "half_pixel") return (x + 0.5) / axis.scale - 0.5;
  if (coordinates == "pytorch_half_pixel") return axis.out > 1 ? (x + 0.5) / axis.scale - 0.5 : 0.0;
  if (coordinates == "half_pixel_symmetric") return in / 2 * (1 - static_cast<double>(axis.out) / out) + (x + 0.5) / axis.scale - 0.5;
  if (coordinates == "align_corners") return axis.out > 1 ? x * (in - 1) / (out - 1) : 0.0;
  if (coordinates == "tf_half_pixel_for_nn") return (x + 0.5) / axis.scale;
  if (coordinates == "tf_crop_and_resize") {
    const double last = static_cast<double>(axis.out) - 1;
    return axis.out > 1 ? axis.start * (in - 1) + x * (axis.end - axis.start) * (in - 1) / last : 0.5 * (axis.start + axis.end) * (in - 1);
  }
  throw Unsupported("the coordinate transformation '" + coordinates + "' is not defined");
}

int64_t nearest_source(const Axis& axis, const Plan& plan, int64_t i) {
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
  return static_cast<int64_t>(std::clamp(rounded, 0.0, static_cast<double>(axis.in - 1)));
}

ValueId resize_nearest(NodeContext& c, ValueId x, const Axis& axis, const Plan& plan) {
  std::vector<int64_t> sources;
  bounded_count({axis.out}, int64_t{1} << 20);
  for (int64_t i = 0; i < axis.out; ++i) sources.push_back(nearest_source(axis, plan, i));
  return gather(c, x, static_cast<int64_t>(axis.axis), c.vector(sources));
}

double kernel(const Plan& plan, double distance) {
  const double d = std::abs(distance), a = plan.cubic;
  if (plan.mode == "linear") return std::max(0.0, 1 - d);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0.0;
}

// The weights of all elements of the input for position i; what lies outside counts as the element at the edge.
void fill_weights(const Axis& axis, const Plan& plan, int64_t i, float* row) {
  const double p = source_position(axis, plan.coordinates, i);
  // Shrinking with antialias, the kernel is as wide as the step between two positions.
  const double narrow = plan.antialias ? std::min(axis.scale, 1.0) : 1.0;
  const double reach = (plan.mode == "linear" ? 1 : 2) / narrow;
  const auto first = static_cast<int64_t>(std::ceil(p - reach)), last = static_cast<int64_t>(std::floor(p + reach));
  std::vector<double> weights(static_cast<size_t>(axis.in), 0.0);
  double sum = 0;
  for (int64_t j = first; j <= last; ++j) {
    if (plan.exclude_outside && (j < 0 || j >= axis.in)) continue;
    const double w = kernel(plan, (static_cast<double>(j) - p) * narrow);
    weights[static_cast<size_t>(std::clamp<int64_t>(j, 0, axis.in - 1))] += w;
    sum += w;
  }
  for (int64_t j = 0; j < axis.in; ++j) row[j] = static_cast<float>(weights[static_cast<size_t>(j)] / (sum == 0 ? 1 : sum));
}

ValueId resize_by_matrix(NodeContext& c, ValueId x, const Axis& axis, const Plan& plan) {
  const Shape shape = c.shape(x);
  bounded_count({axis.out, axis.in});
  // A position far outside takes the element at the edge; the bound keeps the loop over the kernel short.
  if (axis.scale < 1e-4 || axis.scale > 1e6) throw Unsupported("the scale " + std::to_string(axis.scale) + " is out of range");
  Tensor table(DType::kF32, {axis.out, axis.in});
  for (int64_t i = 0; i < axis.out; ++i) fill_weights(axis, plan, i, table.data<float>() + i * axis.in);
  const ValueId weights = c.constant(std::move(table));
  int64_t outer = 1, inner = 1;
  for (size_t i = 0; i < shape.size(); ++i)
    if (i != axis.axis) (i < axis.axis ? outer : inner) *= shape[i];
  Shape resized = shape;
  resized[axis.axis] = axis.out;
  if (inner == 1) return c.reshape(c.step(MatMulAttrs{false, true}, {c.reshape(x, {outer, axis.in}), weights}), resized);
  return c.reshape(c.step(MatMulAttrs{}, {weights, c.reshape(x, {outer, axis.in, inner})}), resized);
}

// Positions of the crop that lie outside the input get a value of their own.
ValueId extrapolate(NodeContext& c, ValueId x, const Axis& axis, const Plan& plan) {
  Shape along(plan.axes.size(), 1);
  along[axis.axis] = axis.out;
  Tensor inside(DType::kBool, along);
  bool all = true;
  for (int64_t i = 0; i < axis.out; ++i) {
    const double p = source_position(axis, plan.coordinates, i);
    inside.data<uint8_t>()[i] = p >= 0 && p <= static_cast<double>(axis.in - 1);
    all = all && inside.data<uint8_t>()[i] != 0;
  }
  return all ? x : where(c, c.constant(std::move(inside)), x, c.scalar(plan.extrapolation));
}

// The graph's resize covers two spatial axes behind batch and channels, which must not change.
bool is_spatial(const Plan& plan) {
  return plan.axes.size() == 4 && !plan.axes[0].changes(plan.coordinates) && !plan.axes[1].changes(plan.coordinates);
}

bool is_plain_nearest(const Plan& plan) {
  if (plan.mode != "nearest" || !is_spatial(plan) || plan.coordinates == "tf_crop_and_resize") return false;
  for (size_t k = 2; k < 4; ++k) {
    const Axis& axis = plan.axes[k];
    for (int64_t i = 0; i < axis.out; ++i)
      if (nearest_source(axis, plan, i) != i * axis.in / axis.out) return false;
  }
  return true;
}

bool is_plain_linear(const Plan& plan) {
  if (plan.mode != "linear" || !is_spatial(plan)) return false;
  for (size_t k = 2; k < 4; ++k) {
    const Axis& axis = plan.axes[k];
    const double exact = static_cast<double>(axis.out) / static_cast<double>(axis.in);
    const bool half_pixel = plan.coordinates == "half_pixel" || plan.coordinates == "half_pixel_symmetric" ||
                            (plan.coordinates == "pytorch_half_pixel" && axis.out > 1);
    // The graph's resize takes its scale from the extents; float scales like 0.333333 stand for them to rounding.
    if (std::abs(axis.scale - exact) > 1e-6 * exact || (!half_pixel && axis.in != axis.out)) return false;
    if (axis.out < axis.in && (plan.antialias || plan.exclude_outside)) return false;
    if (axis.out > axis.in && plan.exclude_outside) return false;
  }
  return true;
}

void lower_plan(NodeContext& c, const Plan& plan) {
  if (plan.mode != "nearest" && plan.mode != "linear" && plan.mode != "cubic")
    throw Unsupported("the mode '" + plan.mode + "' is not defined");
  const ValueId given = c.input(0);
  if (std::none_of(plan.axes.begin(), plan.axes.end(), [&](const Axis& axis) { return axis.changes(plan.coordinates); }))
    return c.alias(given);
  const bool floats = c.dtype(given) == DType::kF32;
  if (floats && is_plain_nearest(plan)) return c.result(ResizeAttrs{ResizeMode::kNearest, plan.axes[2].out, plan.axes[3].out}, {given});
  if (floats && is_plain_linear(plan)) return c.result(ResizeAttrs{ResizeMode::kLinear, plan.axes[2].out, plan.axes[3].out}, {given});
  ValueId x = plan.mode == "nearest" ? given : c.cast(given, DType::kF32);
  for (const Axis& axis : plan.axes)
    if (axis.changes(plan.coordinates)) x = plan.mode == "nearest" ? resize_nearest(c, x, axis, plan) : resize_by_matrix(c, x, axis, plan);
  if (plan.coordinates == "tf_crop_and_resize")
    for (const Axis& axis : plan.axes)
      if (axis.changes(plan.coordinates)) x = extrapolate(c, x, axis, plan);
  c.alias(c.cast(x, c.dtype(given)));
}

std::vector<float> constant_floats(const NodeContext& c, size_t index, const char* what) {
  const Tensor& tensor = c.need_constant(index, what);
  if (tensor.dtype() != DType::kF32) throw Unsupported(std::string(what) + " must be floats");
  const auto view = tensor.view<float>();
  return {view.begin(), view.end()};
}

void set_region(const NodeContext& c, const std::vector<int64_t>& listed, Plan& plan) {
  const std::vector<float> region = constant_floats(c, 1, "the region");
  if (region.size() != 2 * listed.size()) throw Unsupported("its region does not have two numbers for each axis");
  for (size_t i = 0; i < listed.size(); ++i) {
    Axis& axis = plan.axes[static_cast<size_t>(listed[i])];
    axis.start = region[i];
    axis.end = region[listed.size() + i];
    if (!(std::abs(axis.start) <= 1e3) || !(std::abs(axis.end) <= 1e3)) throw Unsupported("its region is out of range");
  }
}

void lower_resize(NodeContext& c, std::vector<int64_t> listed, const std::string& policy) {
  Plan plan = make_plan(c);
  if (listed.empty()) listed = axes_from(0, c.rank(c.input(0)));
  for (int64_t& axis : listed) axis = normalise_axis(axis, c.rank(c.input(0)));
  plan.coordinates = c.attributes.text("coordinate_transformation_mode", "half_pixel");
  plan.rounding = c.attributes.text("nearest_mode", "round_prefer_floor");
  plan.cubic = c.attributes.number("cubic_coeff_a", -0.75f);
  plan.extrapolation = c.attributes.number("extrapolation_value", 0.0f);
  plan.exclude_outside = c.attributes.flag("exclude_outside", false);
  plan.antialias = c.attributes.flag("antialias", false);
  if (plan.coordinates == "tf_crop_and_resize") set_region(c, listed, plan);
  // An empty list stands for one that is left out.
  if (c.has(3) && c.need_constant(3, "the list of sizes").count() > 0) {
    set_sizes(c, c.integers(3, "the list of sizes"), listed, policy, plan);
  } else if (c.has(2) && c.need_constant(2, "the list of scales").count() > 0) {
    set_scales(constant_floats(c, 2, "the list of scales"), listed, plan);
  } else {
    throw Unsupported("it has neither scales nor sizes; the file is damaged");
  }
  lower_plan(c, plan);
}

void lower_by_scales(NodeContext& c, const std::vector<float>& scales) {
  Plan plan = make_plan(c);
  if (plan.mode == "bilinear") plan.mode = "linear";
  set_scales(scales, axes_from(0, c.rank(c.input(0))), plan);
  lower_plan(c, plan);
}

}  // namespace

void lower_upsample_7(NodeContext& c) { lower_by_scales(c, c.attributes.numbers("scales")); }
void lower_upsample_9(NodeContext& c) { lower_by_scales(c, constant_floats(c, 1, "the list of scales")); }
void lower_resize_10(NodeContext& c) { lower_upsample_9(c); }
void lower_resize_11(NodeContext& c) { lower_resize(c, {}, "stretch"); }
void lower_resize_18(NodeContext& c) {
  lower_resize(c, c.attributes.integers("axes"), c.attributes.text("keep_aspect_ratio_policy", "stretch"));
}

}  // namespace actmatch::onnx_import
