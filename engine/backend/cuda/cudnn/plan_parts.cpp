#include "engine/backend/cuda/cudnn/plan_parts.h"

#include "engine/backend/cuda/cudnn/device_impl.h"

namespace actmatch::cuda {

// fp32 leaves out everything that rounds products; Winograd and FFT stay out there too, because their transforms lose digits where the
// reference should not. "Down-converts inputs" is what TF32 means; for bf16 it would mean less than bf16.
bool fits_precision(ConvPrecision precision, const NumericalNotes& notes) {
  if (has(notes, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) return false;
  if (precision == ConvPrecision::kBf16) return !has(notes, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS);
  if (precision == ConvPrecision::kTf32) return true;
  return !has(notes, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) && !has(notes, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS) &&
         !has(notes, CUDNN_NUMERICAL_NOTE_WINOGRAD) && !has(notes, CUDNN_NUMERICAL_NOTE_FFT);
}

ConvGraph make_graph(const PlanKey& key) {
  try {
    return ConvGraph(key);
  } catch (const CudnnError& error) {
    throw Error(ErrorCode::kInvalidArgument, "there is no convolution '" + describe(key) + "': " + error.what());
  }
}

// From a description of the device, not from a handle: the attribute for that is deprecated, and this way tests build plans without a GPU.
// cudnnBackendExecute takes the plan with any handle on such a device.
Descriptor build_plan(const Descriptor& configuration, const DeviceDescription& device) {
  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "execution plan");
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device.impl().properties);
  plan.finalize();
  return plan;
}

}  // namespace actmatch::cuda
