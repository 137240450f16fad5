#include "engine/backend/cuda/cuda_program.h"

#include <map>

#include "engine/backend/cuda/cuda_memory.h"

namespace actmatch::cuda {

// Whole sectors and what vector loads want; cudaMalloc's own.
static constexpr size_t kAlignment = 256;

CudaProgram::CudaProgram(const Graph& graph, const CompileOptions& options, const Engine& engine, WeightCache& weights) : engine_(engine) {
  const bool training = !options.gradients.wanted.empty() || !options.gradients.seeds.empty();
  require_seeds_unwanted(graph, options.gradients);
  if (training) schedule_ = make_gradient_schedule(graph, options.gradients);
  Lowering lowering(graph, options, training ? &schedule_ : nullptr, engine, weights);
  lowering.run();
  const auto take = [this](size_t bytes) { return allocate(bytes); };
  adopt(lowering, training, kAlignment, take, [this] {
    std::map<const Slot*, GradTarget*> last;
    for (Step* step : backward_steps_)
      for (GradTarget* target : step->grads) last[target->slot] = target;
    for (const auto& [slot, target] : last) target->last = true;
    for (auto& step : steps_) step->plan();
    for (auto& slot : slots_)
      if (slot->constant) slot->data = static_cast<std::byte*>(slot->constant->data());
  });
  for (const auto& slot : slots_)
    if (slot->shares_gradient) slot->grad = slot->shares_gradient->grad;
  for (const auto& step : steps_)
    for (const auto& scratch : step->scratch)
      if (Slot* slot = scratch->becomes_gradient_of) moving_.emplace_back(slot, slot->grad);
  expose(graph, options, lowering, take, [&](const Slot& slot, const Tensor& value) {
    const std::vector<std::byte> bytes = formed(value, slot.form);
    copy_to_device(engine.stream, slot.data, bytes.data(), bytes.size());
  });
  for (ValueId id : options.in_place) {
    const Slot* slot = lowering.exposed(id);
    ACTMATCH_CHECK(slot, "what is taken in place is exposed");
    if (slot->form.layout == Layout::kChannelsLast) channels_last_.insert(id);
  }
  wait();
}

// What was issued may still use what is freed now.
CudaProgram::~CudaProgram() { cudaStreamSynchronize(engine_.stream); }

// Filled with zeros: what is exposed must not show what was there before.
std::byte* CudaProgram::allocate(size_t bytes) {
  memory_.emplace_back(bytes, engine_.memory);
  fill_zero(engine_.stream, memory_.back().data(), bytes);
  return static_cast<std::byte*>(memory_.back().data());
}

void CudaProgram::wait() const { ACTMATCH_CUDA(cudaStreamSynchronize(engine_.stream)); }

void CudaProgram::forward() {
  run_forward([this] { wait(); });
}

void CudaProgram::backward() {
  for (const auto& [slot, begin] : moving_) slot->grad = begin;
  run_backward([this] { wait(); });
}

}  // namespace actmatch::cuda
