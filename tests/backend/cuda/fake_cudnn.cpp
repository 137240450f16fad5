#include "tests/backend/cuda/fake_cudnn.h"

#include <algorithm>
#include <cstring>

#include "tests/backend/cuda/fake_runtime.h"

namespace actmatch::cuda {

FakeCudnn& fake_cudnn() {
  static FakeCudnn library;
  return library;
}

}  // namespace actmatch::cuda

using namespace actmatch::cuda;

extern "C" {

size_t cudnnGetVersion() { return fake_cudnn().version; }
size_t cudnnGetCudartVersion() { return CUDART_VERSION; }
const char* cudnnGetErrorString(cudnnStatus_t) { return "A_CUDNN_STATUS"; }
void cudnnGetLastErrorString(char* message, size_t room) { std::strncpy(message, "what cuDNN\nsays about it\n", room); }

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  if (const cudnnStatus_t status = fake_cudnn().answer("cudnnCreate"); status != CUDNN_STATUS_SUCCESS) return status;
  ++fake_cudnn().alive;
  *handle = reinterpret_cast<cudnnHandle_t>(0x20);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t) {
  --fake_cudnn().alive;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t, cudaStream_t stream) {
  fake_cudnn().stream = stream;
  return fake_cudnn().answer("cudnnSetStream");
}
cudnnStatus_t cudnnGetStream(cudnnHandle_t, cudaStream_t* stream) {
  *stream = fake_cudnn().stream;
  return fake_cudnn().answer("cudnnGetStream");
}

// A descriptor is its kind.
cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  if (const cudnnStatus_t status = fake_cudnn().answer("cudnnBackendCreateDescriptor"); status != CUDNN_STATUS_SUCCESS) return status;
  ++fake_cudnn().alive;
  *descriptor = new cudnnBackendDescriptorType_t(type);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  --fake_cudnn().alive;
  delete static_cast<cudnnBackendDescriptorType_t*>(descriptor);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t, int64_t,
                                       const void*) {
  return fake_cudnn().answer("cudnnBackendSetAttribute");
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t) { return fake_cudnn().answer("cudnnBackendFinalize"); }
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t,
                                       int64_t room, int64_t* count, void* values) {
  const FakeCudnn& library = fake_cudnn();
  const auto give = [&](const void* from, size_t size, size_t number) {
    *count = static_cast<int64_t>(number);
    if (values) std::memcpy(values, from, size * static_cast<size_t>(std::min(room, *count)));
  };
  const int64_t engine = 1, workspace = 0;
  switch (attribute) {
    case CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION: give(library.device.data(), 1, library.device.size()); break;
    // Lists of descriptors: those that are there to be filled stay what they are.
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: *count = library.knows_an_engine ? 1 : 0; break;
    case CUDNN_ATTR_ENGINECFG_ENGINE: *count = 1; break;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX: give(&engine, sizeof(engine), 1); break;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE: give(&workspace, sizeof(workspace), 1); break;
    default: *count = 0;
  }
  return fake_cudnn().answer("cudnnBackendGetAttribute");
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t, cudnnBackendDescriptor_t, cudnnBackendDescriptor_t) {
  if (fake_cudnn().on_execute) fake_cudnn().on_execute();
  fake_runtime().add_node("plan");
  return fake_cudnn().answer("cudnnBackendExecute");
}

}  // extern "C"
