// A graph compiled for a GPU: steps over slots in one arena. forward() and backward() only launch work on the engine's stream.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "engine/backend/cuda/cuda_lowering.h"

namespace actmatch::cuda {

class CudaProgram : public Program {
 public:
  CudaProgram(const Graph& graph, const CompileOptions& options, const Engine& engine, WeightCache& weights);

  float* data(ValueId value) override;
  float* gradient(ValueId value) override;
  void forward() override;
  void backward() override;
  MemoryReport memory() const override { return report_; }
  // While it is on, every step is waited for, so that the host's clock shows its time; not while a step is recorded.
  void enable_profiling(bool on) override { profiling_ = on; }
  std::vector<NodeTime> profile() const override;

 private:
  std::byte* allocate(size_t bytes);

  const Engine& engine_;
  GradientSchedule schedule_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<std::unique_ptr<Step>> steps_;
  std::vector<Step*> backward_steps_;
  std::vector<std::pair<ValueId, float*>> data_, gradients_;
  std::vector<DeviceMemory> memory_;
  MemoryReport report_;
  bool profiling_ = false;
  mutable std::vector<double> forward_seconds_, backward_seconds_;  // by step, since profile() was last called
};

}  // namespace actmatch::cuda
