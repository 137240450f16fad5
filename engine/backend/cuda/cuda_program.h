// A graph compiled for a GPU: steps over slots in one arena. forward() and backward() only launch work on the engine's stream; while
// profiling they wait for every step, which cannot be recorded.
#pragma once

#include <set>
#include <utility>
#include <vector>

#include "engine/backend/cuda/cuda_lowering.h"
#include "engine/backend/stepped_program.h"

namespace actmatch::cuda {

class CudaProgram : public SteppedProgram<Slot, Step> {
 public:
  CudaProgram(const Graph& graph, const CompileOptions& options, const Engine& engine, WeightCache& weights);
  ~CudaProgram() override;

  kernels::ChannelOrder order(ValueId value) const override {
    return channels_last_.count(value) > 0 ? kernels::ChannelOrder::kLast : kernels::ChannelOrder::kFirst;
  }
  void forward() override;
  void backward() override;

 private:
  std::byte* allocate(size_t bytes);
  void wait() const;

  const Engine& engine_;
  GradientSchedule schedule_;
  std::vector<DeviceMemory> memory_;
  std::vector<std::pair<Slot*, std::byte*>> moving_;  // gradients that steps move, and where they are when a pass begins
  std::set<ValueId> channels_last_;
};

}  // namespace actmatch::cuda
