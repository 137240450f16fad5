#include "tests/backend/cuda/fake_runtime.h"

#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>
#include <map>

namespace actmatch::cuda {
namespace {

std::map<cudaEvent_t, double> recorded;
std::map<cudaGraph_t, double> graphs;
std::map<cudaGraphExec_t, double> executables;

// Things are told apart by their address only.
template <class Handle>
Handle new_handle() {
  static char* next = reinterpret_cast<char*>(0x1000);
  return reinterpret_cast<Handle>(next += 16);
}

cudaError_t note(const char* call) { return fake_runtime().note(call); }
cudaError_t note_outside_capture(const char* call) { return fake_runtime().note_outside_capture(call); }

}  // namespace

FakeRuntime& fake_runtime() {
  static FakeRuntime runtime;
  return runtime;
}

cudaError_t FakeRuntime::note(const char* call) {
  calls.emplace_back(call);
  if (static_cast<int64_t>(calls.size()) - 1 == failing_call) {
    lost = lost_then;
    lost_with = failing_with;
    return failing_with;
  }
  return lost ? lost_with : cudaSuccess;
}
cudaError_t FakeRuntime::note_outside_capture(const char* call) {
  if (const cudaError_t status = note(call); status != cudaSuccess) return status;
  return capturing ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

void FakeRuntime::add_node(const std::string& name) {
  if (capturing) captures.back().push_back(name);
}

void FakeRuntime::launch(double microseconds) {
  calls.emplace_back("launch");
  (capturing ? captured : clock) += microseconds;
}

}  // namespace actmatch::cuda

using namespace actmatch::cuda;

extern "C" {

cudaError_t cudaMalloc(void** address, size_t bytes) {
  if (const cudaError_t status = note_outside_capture("malloc"); status != cudaSuccess) return status;
  if (bytes > fake_runtime().room) return cudaErrorMemoryAllocation;
  *address = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  fake_runtime().room -= bytes;
  fake_runtime().memory.insert(*address);
  return cudaSuccess;
}
cudaError_t cudaFree(void* address) {
  if (!address) return cudaSuccess;
  note("free");
  if (fake_runtime().memory.erase(address) != 1) std::abort();  // what was not allocated, or twice
  std::free(address);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  std::memcpy(to, from, bytes);
  return note_outside_capture("copy");
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return note_outside_capture("synchronize"); }
cudaError_t cudaGetLastError() { return note("get last error"); }
const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress: return "an illegal memory access";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorECCUncorrectable: return "uncorrectable ECC error encountered";
    case cudaErrorDevicesUnavailable: return "CUDA-capable device(s) is/are busy or unavailable";
    case cudaErrorMemoryAllocation: return "out of memory";
    default: return "a fake error";
  }
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new_handle<cudaEvent_t>();
  ++fake_runtime().events;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t) {
  --fake_runtime().events;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  recorded[event] = fake_runtime().clock;
  return note("record");
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return note_outside_capture("wait"); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = static_cast<float>((recorded.at(end) - recorded.at(begin)) / 1000.0);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode mode) {
  if (const cudaError_t status = note_outside_capture("begin capture"); status != cudaSuccess) return status;
  if (fake_runtime().refuse_capture || mode != cudaStreamCaptureModeThreadLocal) return cudaErrorStreamCaptureUnsupported;
  fake_runtime().capturing = true;
  fake_runtime().captures.emplace_back();
  fake_runtime().captured = 0;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  fake_runtime().capturing = false;
  *graph = nullptr;
  if (const cudaError_t status = note("end capture"); status != cudaSuccess) return status;
  *graph = new_handle<cudaGraph_t>();
  graphs[*graph] = fake_runtime().captured;
  ++fake_runtime().graphs;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t) {
  --fake_runtime().graphs;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  if (const cudaError_t status = note("instantiate"); status != cudaSuccess) return status;
  *executable = new_handle<cudaGraphExec_t>();
  executables[*executable] = graphs.at(graph);
  ++fake_runtime().executables;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) {
  --fake_runtime().executables;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  FakeRuntime& runtime = fake_runtime();
  runtime.clock += executables.at(executable);
  if (!runtime.disturbances.empty()) {
    runtime.clock += runtime.disturbances.front();
    runtime.disturbances.erase(runtime.disturbances.begin());
  }
  return note("replay");
}

}  // extern "C"
