#include "engine/backend/cpu/cpu_program.h"

#include <cstring>

#include "engine/backend/cpu/loops.h"
#include "engine/backend/cpu/plain_depthwise.h"

namespace actmatch::cpu {

static constexpr size_t kAlignment = 64;  // a cache line

CpuProgram::CpuProgram(const Graph& given, const CompileOptions& options, const dnnl::engine& engine, WeightCache& weights,
                       const int* threads)
    : threads_(threads) {
  const Graph graph = with_plain_depthwise(given);
  const bool training = !options.gradients.wanted.empty() || !options.gradients.seeds.empty();
  require_seeds_unwanted(graph, options.gradients);
  if (training) schedule_ = make_gradient_schedule(graph, options.gradients);
  Lowering lowering(graph, options, training ? &schedule_ : nullptr, engine, weights);
  lowering.run();
  const auto take = [this](size_t bytes) { return allocate(bytes); };
  adopt(lowering, training, kAlignment, take, [this] {
    for (auto& step : steps_) step->plan();
    for (auto& slot : slots_)
      if (slot->constant) slot->data = const_cast<std::byte*>(static_cast<const std::byte*>(slot->constant->raw()));
  });
  for (const auto& step : steps_) report_.arena_bytes += step->own_bytes();
  for (auto& step : steps_) step->bind();
  expose(graph, options, lowering, take, [](const Slot& slot, const Tensor& value) { std::memcpy(slot.data, value.raw(), slot.bytes); });
}

std::byte* CpuProgram::allocate(size_t bytes) {
  memory_.emplace_back(DType::kBool, Shape{static_cast<int64_t>(bytes)});
  return static_cast<std::byte*>(memory_.back().raw());
}

void CpuProgram::forward() {
  const ThreadLimit limit(*threads_);
  run_forward([] {});
}

void CpuProgram::backward() {
  const ThreadLimit limit(*threads_);
  run_backward([] {});
}

}  // namespace actmatch::cpu
