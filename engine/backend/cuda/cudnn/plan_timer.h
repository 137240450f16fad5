// Times plans, and the kernels of our own that could do a part of their work, on a CUDA device as they run in a step: replayed from a CUDA
// graph.
#pragma once

#include <cuda_runtime.h>

#include <memory>

#include "engine/backend/cuda/plan_library.h"

namespace actmatch::cuda {

class CudaPlanTimer : public PlanTimer {
 public:
  // `stream` is one that can be captured: not the default stream. `rest` launches on it too.
  CudaPlanTimer(cudaStream_t stream, ConvRest rest);
  ~CudaPlanTimer() override;
  CudaPlanTimer(const CudaPlanTimer&) = delete;
  CudaPlanTimer& operator=(const CudaPlanTimer&) = delete;

  std::unique_ptr<Bench> prepare(const PlanKey& key) override;

 private:
  cudaStream_t stream_;
  ConvRest rest_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace actmatch::cuda
