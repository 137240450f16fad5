#include "onnx_import/ops/control_flow.h"
#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

bool constant_truth(NodeContext& c, ValueId value, const char* what) {
  const Tensor* tensor = c.constant(value);
  if (!tensor)
    throw Unsupported(std::string(what) +
                      " depends on the model's input; only what is known from shapes and constants is followed: export the model with "
                      "fixed shapes, or simplify it");
  if (tensor->count() != 1 || tensor->dtype() != DType::kBool)
    throw Unsupported(std::string(what) + " must be one truth value, not " + name_of(tensor->dtype()) + " " + to_string(tensor->shape()));
  return *tensor->data<uint8_t>() != 0;
}

void lower_if(NodeContext& c) {
  c.attributes.ignore("then_branch");
  c.attributes.ignore("else_branch");
  const bool chosen = constant_truth(c, c.input(0), "its condition");
  const std::vector<ValueId> results = c.body(chosen ? "then_branch" : "else_branch", chosen ? "then" : "else", {});
  if (results.size() != c.output_count())
    throw Unsupported("it has " + std::to_string(c.output_count()) + " outputs and its branch " + std::to_string(results.size()) +
                      "; the file is damaged");
  for (size_t i = 0; i < results.size(); ++i) c.alias(results[i], i);
}

}  // namespace actmatch::onnx_import
