#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

void lower_inactive(NodeContext& c) {
  c.refuse_output(1, "mask");
  c.alias(c.input(0));
}

}  // namespace

void lower_dropout_7(NodeContext& c) {
  c.attributes.ignore("ratio");  // of training
  lower_inactive(c);
}

void lower_dropout_12(NodeContext& c) {
  c.attributes.ignore("seed");
  if (c.has(2) && c.number(2, "the training mode") != 0.0f)
    throw Unsupported("it is in training mode; export the model in evaluation mode (model.eval())");
  lower_inactive(c);
}

}  // namespace actmatch::onnx_import
