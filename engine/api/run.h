// Runs a model on arrays: outputs, and the gradient of one of them at the inputs.
#pragma once

#include <string>
#include <vector>

#include "engine/api/model_session.h"
#include "engine/core/tensor.h"

namespace actmatch::api {

struct NamedTensor {
  std::string name;
  Tensor tensor;  // f32
};
using NamedTensors = std::vector<NamedTensor>;

// See actmatch_model_run. Throws kInvalidArgument naming what is there, kUnsupported for models that cannot run.
NamedTensors run_model(ModelSession& session, const NamedTensors& inputs, const std::string& gradient);

NamedTensor read_named_npy(const std::string& name, const std::string& path);
void write_tensors(const NamedTensors& tensors, const std::string& folder);

}  // namespace actmatch::api
