// A graph compiled for the CPU: steps over slots in one arena.
#pragma once

#include <memory>
#include <vector>

#include "engine/backend/cpu/lowering.h"

namespace actmatch::cpu {

class CpuProgram : public Program {
 public:
  CpuProgram(const Graph& graph, const CompileOptions& options, const dnnl::engine& engine, WeightCache& weights, const int* threads);

  float* data(ValueId value) override;
  float* gradient(ValueId value) override;
  void forward() override;
  void backward() override;
  MemoryReport memory() const override { return report_; }
  void enable_profiling(bool on) override { profiling_ = on; }
  std::vector<NodeTime> profile() const override;

 private:
  std::byte* allocate(size_t bytes);

  GradientSchedule schedule_;
  std::unique_ptr<Lowering> lowering_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<std::unique_ptr<Step>> steps_;
  std::vector<Step*> backward_steps_;
  std::vector<std::pair<ValueId, float*>> data_, gradients_;
  std::vector<Tensor> memory_;
  MemoryReport report_;
  const int* threads_;
  bool profiling_ = false;
  mutable std::vector<double> forward_seconds_, backward_seconds_;  // by step, since profile() was last called
};

}  // namespace actmatch::cpu
