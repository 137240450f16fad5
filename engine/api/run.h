// Runs a model on arrays: outputs, and the gradient of one of them at the inputs.
#pragma once

#include <string>
#include <vector>

#include "engine/api/model_session.h"
#include "engine/core/tensor.h"

namespace actmatch::api {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};
using NamedTensors = std::vector<NamedTensor>;

// See actmatch_model_run. Throws kInvalidArgument naming what is there, kUnsupported for models that cannot run.
NamedTensors run_model(ModelSession& session, const NamedTensors& inputs, const std::string& gradient);

// The tensor itself, or its elements in another type. Throws kInvalidArgument, with `what` in front, for floats that are no whole numbers
// and are to be integers, and numbers that are to be truth values and are neither 0 nor 1.
Tensor converted(const Tensor& tensor, DType to, const std::string& what);
void write_tensors(const NamedTensors& tensors, const std::string& folder);

}  // namespace actmatch::api
