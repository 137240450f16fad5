// A graph compiled for the CPU: steps over slots in one arena.
#pragma once

#include <vector>

#include "engine/backend/cpu/lowering.h"
#include "engine/backend/stepped_program.h"

namespace actmatch::cpu {

class CpuProgram : public SteppedProgram<Slot, Step> {
 public:
  CpuProgram(const Graph& graph, const CompileOptions& options, const dnnl::engine& engine, WeightCache& weights, const int* threads);

  void forward() override;
  void backward() override;

 private:
  std::byte* allocate(size_t bytes);

  GradientSchedule schedule_;
  std::vector<Tensor> memory_;
  const int* threads_;
};

}  // namespace actmatch::cpu
