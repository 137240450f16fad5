#include <algorithm>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

void lower_inactive(NodeContext& c) {
  const ValueId x = c.input(0);
  if (c.output_used(1)) {  // nothing is dropped
    const ValueId one = c.opset() < 10 ? scalar_like(c, x, 1) : c.constant(Tensor::scalar<uint8_t>(1));
    bounded_count(c.shape(x));
    c.alias(expand(c, one, c.shape(x)), 1);
  }
  c.alias(x);
}

}  // namespace

void lower_dropout_1(NodeContext& c) {
  if (!c.attributes.flag("is_test", false))
    throw Unsupported("it is in training mode (is_test=0); export the model in evaluation mode (model.eval())");
  lower_dropout_7(c);
}

void lower_dropout_7(NodeContext& c) {
  c.attributes.ignore("ratio");  // of training
  lower_inactive(c);
}

// In training nothing is dropped either where the ratio is 0.
void lower_dropout_12(NodeContext& c) {
  c.attributes.ignore("seed");
  const bool training = c.has(2) && c.number(2, "the training mode") != 0.0f;
  if (training && (!c.has(1) || c.number(1, "the ratio") != 0.0f))
    throw Unsupported("it is in training mode; export the model in evaluation mode (model.eval())");
  lower_inactive(c);
}

}  // namespace actmatch::onnx_import
