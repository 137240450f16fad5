// Times plans on a CUDA device, as they run in a step: replayed from a CUDA graph.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>

#include "engine/backend/cuda/plan_library.h"

namespace actmatch::cuda {

class CudaPlanTimer : public PlanTimer {
 public:
  // `stream` is one that can be captured: not the default stream.
  CudaPlanTimer(int device, cudaStream_t stream);
  ~CudaPlanTimer() override;
  CudaPlanTimer(const CudaPlanTimer&) = delete;
  CudaPlanTimer& operator=(const CudaPlanTimer&) = delete;

  std::unique_ptr<Bench> prepare(const PlanKey& key) override;
  double pass_microseconds(size_t bytes) const override;

 private:
  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  double bytes_per_microsecond_;
};

}  // namespace actmatch::cuda
