#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

// A vector over the channels, along axis 1 of x.
ValueId channels(NodeContext& c, ValueId x, ValueId vector) {
  if (c.rank(x) < 2) throw Unsupported("its input has the shape " + to_string(c.shape(x)) + " and no channel axis");
  Shape shape(c.shape(x).size(), 1);
  shape[1] = c.shape(x)[1];
  if (c.shape(vector) != Shape{shape[1]})
    throw Unsupported("a statistic or scale has the shape " + to_string(c.shape(vector)) + ", which does not fit the input " +
                      to_string(c.shape(x)));
  return c.reshape(vector, shape);
}

void refuse_statistics(const NodeContext& c) {
  for (size_t i = 1; i < c.output_count(); ++i) c.refuse_output(i, "of running statistics");
}

// Statistics that depend on the input, in steps: (x - mean) / sqrt(variance + epsilon) * scale + bias.
void lower_computed(NodeContext& c, float epsilon) {
  const ValueId x = c.input(0);
  const ValueId deviation = unary(c, UnaryKind::kSqrt, add(c, channels(c, x, c.input(4)), c.scalar(epsilon)));
  const ValueId normal = multiply(c, subtract(c, x, channels(c, x, c.input(3))), divide(c, channels(c, x, c.input(1)), deviation));
  c.result(BinaryAttrs{BinaryKind::kAdd}, {normal, channels(c, x, c.input(2))});
}

void lower_frozen(NodeContext& c) {
  c.attributes.ignore("momentum");  // of training
  BatchNormAttrs attrs;
  attrs.epsilon = c.attributes.number("epsilon", 1e-5f);
  refuse_statistics(c);
  for (size_t i = 1; i < 5; ++i)
    if (!c.constant(c.input(i))) return lower_computed(c, attrs.epsilon);
  c.result(attrs, {c.input(0), c.input(1), c.input(2), c.input(3), c.input(4)});
}

// By the statistics of the input itself. Over a batch they would mix the pictures; networks that standardise their weights have it of a
// constant, where that is what is meant.
void lower_training(NodeContext& c) {
  const ValueId x = c.input(0);
  if (!c.constant(x)) throw Unsupported("it is in training mode; export the model in evaluation mode (model.eval())");
  c.attributes.ignore("momentum");
  const float epsilon = c.attributes.number("epsilon", 1e-5f);
  refuse_statistics(c);
  const ValueId scale = channels(c, x, c.input(1)), bias = channels(c, x, c.input(2));
  std::vector<int64_t> axes = axes_from(1, c.rank(x));
  axes[0] = 0;  // all but the channels
  const ValueId centred = subtract(c, x, reduce(c, ReduceKind::kMean, axes, x));
  const ValueId variance = reduce(c, ReduceKind::kMean, axes, multiply(c, centred, centred));
  const ValueId deviation = unary(c, UnaryKind::kSqrt, add(c, variance, c.scalar(epsilon)));
  c.result(BinaryAttrs{BinaryKind::kAdd}, {multiply(c, centred, divide(c, scale, deviation)), bias});
}

}  // namespace

void lower_batch_normalization_1(NodeContext& c) {
  if (!c.attributes.flag("is_test", false))
    throw Unsupported("it is in training mode (is_test=0); export the model in evaluation mode (model.eval())");
  lower_batch_normalization_7(c);
}

// Until opset 13 all five outputs say that it is in training mode.
void lower_batch_normalization_7(NodeContext& c) {
  if (c.attributes.integer("spatial", 1) != 1) throw Unsupported("statistics for each position (spatial=0) are not supported");
  lower_batch_normalization_9(c);
}

void lower_batch_normalization_9(NodeContext& c) { c.output_count() == 5 ? lower_training(c) : lower_frozen(c); }

void lower_batch_normalization_14(NodeContext& c) { c.attributes.flag("training_mode", false) ? lower_training(c) : lower_frozen(c); }

}  // namespace actmatch::onnx_import
