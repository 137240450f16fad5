#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

void lower_frozen(NodeContext& c) {
  c.attributes.ignore("momentum");  // of training
  BatchNormAttrs attrs;
  attrs.epsilon = c.attributes.number("epsilon", 1e-5f);
  for (size_t i = 1; i < 5; ++i) c.need_constant(i, "a statistic or scale");
  for (size_t i = 1; i < c.output_count(); ++i) c.refuse_output(i, "of running statistics");
  c.result(attrs, {c.input(0), c.input(1), c.input(2), c.input(3), c.input(4)});
}

}  // namespace

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
