#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

// Statistics that depend on the input, in steps: (x - mean) / sqrt(variance + epsilon) * scale + bias.
void lower_computed(NodeContext& c, float epsilon) {
  const ValueId x = c.input(0);
  if (c.rank(x) < 2) throw Unsupported("its input has the shape " + to_string(c.shape(x)) + " and no channel axis");
  Shape channels(c.shape(x).size(), 1);
  channels[1] = c.shape(x)[1];
  const auto vector = [&](size_t i) {
    if (c.shape(c.input(i)) != Shape{channels[1]})
      throw Unsupported("a statistic or scale has the shape " + to_string(c.shape(c.input(i))) + ", which does not fit the input " +
                        to_string(c.shape(x)));
    return c.reshape(c.input(i), channels);
  };
  const ValueId deviation = unary(c, UnaryKind::kSqrt, add(c, vector(4), c.scalar(epsilon)));
  const ValueId normal = multiply(c, subtract(c, x, vector(3)), divide(c, vector(1), deviation));
  c.result(BinaryAttrs{BinaryKind::kAdd}, {normal, vector(2)});
}

void lower_frozen(NodeContext& c) {
  c.attributes.ignore("momentum");  // of training
  BatchNormAttrs attrs;
  attrs.epsilon = c.attributes.number("epsilon", 1e-5f);
  for (size_t i = 1; i < c.output_count(); ++i) c.refuse_output(i, "of running statistics");
  for (size_t i = 1; i < 5; ++i)
    if (!c.constant(c.input(i))) return lower_computed(c, attrs.epsilon);
  c.result(attrs, {c.input(0), c.input(1), c.input(2), c.input(3), c.input(4)});
}

}  // namespace

void lower_batch_normalization_1(NodeContext& c) {
  if (!c.attributes.flag("is_test", false))
    throw Unsupported("it is in training mode (is_test=0); export the model in evaluation mode (model.eval())");
  lower_batch_normalization_7(c);
}

void lower_batch_normalization_7(NodeContext& c) {
  if (c.attributes.integer("spatial", 1) != 1) throw Unsupported("statistics for each position (spatial=0) are not supported");
  lower_frozen(c);
}

void lower_batch_normalization_9(NodeContext& c) { lower_frozen(c); }

void lower_batch_normalization_14(NodeContext& c) {
  if (c.attributes.flag("training_mode", false))
    throw Unsupported("it is in training mode; export the model in evaluation mode (model.eval())");
  lower_frozen(c);
}

}  // namespace actmatch::onnx_import
