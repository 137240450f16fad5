// Normalisations by statistics of the input itself.
#include <algorithm>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

ValueId inverse_deviation(NodeContext& c, ValueId variance, float epsilon) {
  return unary(c, UnaryKind::kReciprocal, unary(c, UnaryKind::kSqrt, add(c, variance, c.scalar(epsilon))));
}

ValueId mean_of_squares(NodeContext& c, ValueId x, const std::vector<int64_t>& axes) {
  return reduce(c, ReduceKind::kMean, axes, multiply(c, x, x));
}

// A vector over axis 1 of a tensor of this rank.
ValueId per_channel(NodeContext& c, ValueId vector, int64_t rank) {
  Shape shape(static_cast<size_t>(rank), 1);
  if (c.rank(vector) != 1) throw Unsupported("the scale or bias has the shape " + to_string(c.shape(vector)) + "; it must be a vector");
  shape[1] = c.shape(vector)[0];
  return c.reshape(vector, shape);
}

// x in groups of neighbouring channels, each centred and scaled to variance 1, in the input's shape.
ValueId normalised_groups(NodeContext& c, ValueId x, int64_t groups) {
  const Shape shape = c.shape(x);
  if (shape.size() < 2 || shape[1] % groups != 0 || element_count(shape) == 0)
    throw Unsupported("its input " + to_string(shape) + " does not divide into " + std::to_string(groups) + " groups of channels");
  const ValueId grouped = c.reshape(x, {shape[0], groups, element_count(shape) / shape[0] / groups});
  const ValueId centred = subtract(c, grouped, reduce(c, ReduceKind::kMean, {2}, grouped));
  const ValueId factor = inverse_deviation(c, mean_of_squares(c, centred, {2}), c.attributes.number("epsilon", 1e-5f));
  return c.reshape(multiply(c, centred, factor), shape);
}

}  // namespace

// Opset 18 gives scale and bias by group, 21 by channel.
void lower_group_normalization_18(NodeContext& c) {
  const ValueId x = c.input(0);
  const int64_t groups = c.attributes.integer("num_groups", 1, 1), rank = c.rank(x);
  const ValueId normal = normalised_groups(c, x, groups);
  const Shape shape = c.shape(x);
  const auto spread = [&](ValueId vector) {
    if (c.shape(vector) != Shape{groups}) throw Unsupported("its scale and bias must have one number for each group");
    return per_channel(c, c.reshape(expand(c, c.reshape(vector, {groups, 1}), {groups, shape[1] / groups}), {shape[1]}), rank);
  };
  c.result(BinaryAttrs{BinaryKind::kAdd}, {multiply(c, normal, spread(c.input(1))), spread(c.input(2))});
}
void lower_group_normalization_21(NodeContext& c) {
  c.attributes.ignore("stash_type");  // everything is computed in float32
  const ValueId x = c.input(0);
  const ValueId normal = normalised_groups(c, x, c.attributes.integer("num_groups", 1, 1));
  const int64_t rank = c.rank(x);
  c.result(BinaryAttrs{BinaryKind::kAdd}, {multiply(c, normal, per_channel(c, c.input(1), rank)), per_channel(c, c.input(2), rank)});
}

// x / sqrt(mean of x^2 + epsilon) * scale over the axes from `axis` on.
void lower_rms_normalization(NodeContext& c) {
  c.attributes.ignore("stash_type");
  const ValueId x = c.input(0);
  const std::vector<int64_t> axes = axes_from(normalise_axis(c.attributes.integer("axis", -1), c.rank(x)), c.rank(x));
  const ValueId factor = inverse_deviation(c, mean_of_squares(c, x, axes), c.attributes.number("epsilon", 1e-5f));
  c.result(BinaryAttrs{BinaryKind::kMul}, {multiply(c, x, factor), c.input(1)});
}

// (x - mean) / (deviation + 1e-9), as the standard's own definition has it.
void lower_mean_variance_normalization(NodeContext& c) {
  const ValueId x = c.input(0);
  std::vector<int64_t> axes = c.attributes.integers("axes");
  if (axes.empty()) axes = {0, 2, 3};
  for (int64_t& axis : axes) axis = normalise_axis(axis, c.rank(x));
  std::sort(axes.begin(), axes.end());
  const ValueId centred = subtract(c, x, reduce(c, ReduceKind::kMean, axes, x));
  const ValueId deviation = unary(c, UnaryKind::kSqrt, mean_of_squares(c, centred, axes));
  c.result(BinaryAttrs{BinaryKind::kDiv}, {centred, add(c, deviation, c.scalar(1e-9f))});
}

// x / |x| along an axis; 0 where the norm is 0.
void lower_lp_normalization(NodeContext& c) {
  const ValueId x = c.input(0);
  const int64_t axis = normalise_axis(c.attributes.integer("axis", -1), c.rank(x)), p = c.attributes.integer("p", 2, 1, 2);
  const ValueId zero = c.scalar(0.0f);
  ValueId norm = reduce(c, ReduceKind::kSum, {axis}, p == 1 ? unary(c, UnaryKind::kAbs, x) : multiply(c, x, x));
  const ValueId none = binary(c, BinaryKind::kEqual, norm, zero);
  norm = where(c, none, c.scalar(1.0f), norm);  // before the root, whose derivative at 0 is infinite
  if (p == 2) norm = unary(c, UnaryKind::kSqrt, norm);
  c.result(BinaryAttrs{BinaryKind::kDiv}, {x, norm});
}

}  // namespace actmatch::onnx_import
