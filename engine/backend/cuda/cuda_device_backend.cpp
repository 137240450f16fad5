#include "engine/backend/cuda/cuda_device_backend.h"

#include "engine/backend/cuda/cuda_program.h"
#include "engine/backend/cuda/cuda_recording.h"
#include "engine/core/error.h"

#if __has_include(<nvtx3/nvToolsExt.h>) && !defined(ACTMATCH_SIMT)
#include <nvtx3/nvToolsExt.h>
#define ACTMATCH_HAVE_NVTX
#endif

namespace actmatch::cuda {

Stream::Stream() { ACTMATCH_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
Stream::~Stream() { cudaStreamDestroy(stream_); }

DeviceBackend::DeviceBackend(DeviceBackendParts parts)
    : parts_(std::move(parts)),
      engine_{parts_.stream->get(), parts_.precision, parts_.convolutions.get(), parts_.products.get(), std::make_shared<MemoryCount>()},
      weights_(engine_.stream, engine_.memory),
      kernels_(engine_.stream, engine_.memory) {}

// What is freed below may still be in use.
DeviceBackend::~DeviceBackend() {
  cudaSetDevice(parts_.device);
  cudaStreamSynchronize(engine_.stream);
}

void DeviceBackend::use_device() const { ACTMATCH_CUDA(cudaSetDevice(parts_.device)); }

std::unique_ptr<Program> DeviceBackend::compile(const Graph& graph, const CompileOptions& options) {
  use_device();
  std::string problems;
  for (const Node& node : graph.nodes())
    if (const std::string reason = why_unsupported(graph, node); !reason.empty())
      problems += (problems.empty() ? "" : "; ") + ("node '" + node.name + "' (" + name_of(node.op()) + "): " + reason);
  if (!problems.empty()) throw Error(ErrorCode::kUnsupported, "the CUDA backend cannot run this model: " + problems);
  return std::make_unique<CudaProgram>(graph, options, engine_, weights_);
}

float* DeviceBackend::allocate(size_t count) {
  use_device();
  DeviceMemory memory(std::max<size_t>(count, 1) * sizeof(float), engine_.memory);
  fill_zero(engine_.stream, memory.data(), memory.bytes());
  auto* address = static_cast<float*>(memory.data());
  memory_.emplace(address, std::move(memory));
  return address;
}

// What was issued may still use it (cudaFree may wait for that, but need not). Called by destructors, also while the error about a lost
// device is on its way: nothing is thrown here.
void DeviceBackend::release(float* memory) {
  cudaSetDevice(parts_.device);
  cudaStreamSynchronize(engine_.stream);
  memory_.erase(memory);
}

void DeviceBackend::upload(float* device, const float* host, size_t count) {
  use_device();
  copy_to_device(engine_.stream, device, host, count * sizeof(float));
}

void DeviceBackend::download(float* host, const float* device, size_t count) {
  use_device();
  copy_to_host(engine_.stream, host, device, count * sizeof(float));
}

size_t DeviceBackend::free_memory() const {
  use_device();
  size_t free = 0, total = 0;
  ACTMATCH_CUDA(cudaMemGetInfo(&free, &total));
  return free;
}

std::unique_ptr<Recording> DeviceBackend::record(const std::function<void()>& body) {
  use_device();
  return cuda::record(
      engine_.stream, body, [this](bool capturing) { kernels_.set_capturing(capturing); }, parts_.notice);
}

std::unique_ptr<Readback> DeviceBackend::make_readback(const float* device, size_t count) {
  use_device();
  return cuda::make_readback(engine_.stream, device, count);
}

void DeviceBackend::synchronize() {
  use_device();
  ACTMATCH_CUDA(cudaStreamSynchronize(engine_.stream));
}

#if defined(ACTMATCH_HAVE_NVTX)
void DeviceBackend::begin_range(const char* name) { nvtxRangePushA(name); }
void DeviceBackend::end_range() { nvtxRangePop(); }
#else
void DeviceBackend::begin_range(const char*) {}
void DeviceBackend::end_range() {}
#endif

}  // namespace actmatch::cuda
