// The CUDA backend on one stream, whatever libraries stand behind it.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "engine/backend/backend.h"
#include "engine/backend/cuda/cuda_kernels.h"
#include "engine/backend/cuda/cuda_lowering.h"
#include "engine/backend/cuda/cuda_memory.h"
#include "engine/backend/cuda/cuda_weights.h"

namespace actmatch::cuda {

// A stream of the current device that does not wait for the default stream.
class Stream {
 public:
  Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

struct DeviceBackendParts {
  int device = 0;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<ConvLibrary> convolutions;  // may be null
  std::unique_ptr<MatMulLibrary> products;    // may be null
  Precision precision = Precision::kF32;
  std::string name = "cuda";  // as records tell it
  std::string description;
  int64_t preferred_batch = 64;
  std::function<void(const std::string&)> notice;  // may be empty
};

// One thread at a time, which need not always be the same.
class DeviceBackend : public Backend {
 public:
  explicit DeviceBackend(DeviceBackendParts parts);
  ~DeviceBackend() override;

  std::string name() const override { return parts_.name; }
  std::string description() const override { return parts_.description; }
  std::string why_unsupported(const Graph& graph, const Node& node) const override { return cuda::why_unsupported(graph, node); }
  std::unique_ptr<Program> compile(const Graph& graph, const CompileOptions& options) override;
  float* allocate(size_t count) override;
  void release(float* memory) override;
  void upload(float* device, const float* host, size_t count) override;
  void download(float* host, const float* device, size_t count) override;
  Kernels& kernels() override { return kernels_; }
  Precision precision() const override { return parts_.precision; }
  size_t free_memory() const override;
  HeldMemory held_memory() const override { return {engine_.memory->now(), engine_.memory->peak()}; }
  void restart_peak() override { engine_.memory->restart_peak(); }
  int64_t preferred_batch() const override { return parts_.preferred_batch; }
  std::unique_ptr<Recording> record(const std::function<void()>& body) override;
  std::unique_ptr<Readback> make_readback(const float* device, size_t count) override;
  void synchronize() override;
  void set_threads(int) override {}  // the host does no work to speak of
  void begin_range(const char* name) override;
  void end_range() override;

 private:
  void use_device() const;  // the runtime's current device belongs to the thread

  DeviceBackendParts parts_;
  Engine engine_;
  WeightCache weights_;
  CudaKernels kernels_;
  std::map<float*, DeviceMemory> memory_;
};

}  // namespace actmatch::cuda
