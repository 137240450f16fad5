#include "engine/backend/cpu/cpu_program.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <unordered_map>

#include "engine/backend/cpu/loops.h"
#include "engine/backend/program_plan.h"
#include "engine/core/error.h"

namespace actmatch::cpu {

static constexpr size_t kAlignment = 64;  // a cache line

CpuProgram::CpuProgram(const Graph& graph, const CompileOptions& options, const dnnl::engine& engine, WeightCache& weights,
                       const int* threads)
    : threads_(threads) {
  const bool training = !options.gradients.wanted.empty() || !options.gradients.seeds.empty();
  require_seeds_unwanted(graph, options.gradients);
  if (training) schedule_ = make_gradient_schedule(graph, options.gradients);
  Lowering lowering(graph, options, training ? &schedule_ : nullptr, engine, weights);
  lowering.run();
  slots_ = std::move(lowering.slots());
  steps_ = std::move(lowering.steps());
  if (training) backward_steps_ = plan_gradients(slots_, steps_);
  for (auto& step : steps_) step->plan();
  for (auto& slot : slots_)
    if (slot->constant) slot->data = const_cast<std::byte*>(static_cast<const std::byte*>(slot->constant->raw()));
  plan_program_memory(
      slots_, steps_, backward_steps_, kAlignment, [this](size_t bytes) { return allocate(bytes); }, report_);
  for (const auto& step : steps_) report_.arena_bytes += step->own_bytes();
  for (auto& step : steps_) step->bind();

  for (size_t v = 0; v < graph.values().size(); ++v) {
    const auto id = static_cast<ValueId>(v);
    if (const Slot* slot = lowering.exposed(id)) {
      data_.emplace_back(id, slot->f32());
      if (graph.values()[v].kind == ValueKind::kParameter) std::memcpy(slot->data, graph.values()[v].constant->raw(), slot->bytes);
    }
    if (const Slot* seed = lowering.seed(id)) gradients_.emplace_back(id, seed->grad);
  }
  for (ValueId id : options.gradients.wanted) {
    float* gradient = nullptr;
    if (const Slot* slot = lowering.gradient(id)) gradient = slot->grad;
    if (!gradient) {  // no seed depends on it: zeros, for good
      gradient = reinterpret_cast<float*>(allocate(static_cast<size_t>(element_count(graph.value(id).shape)) * sizeof(float)));
    }
    gradients_.emplace_back(id, gradient);
  }
  forward_seconds_.assign(steps_.size(), 0.0);
  backward_seconds_.assign(steps_.size(), 0.0);
}

std::byte* CpuProgram::allocate(size_t bytes) {
  memory_.emplace_back(DType::kBool, Shape{static_cast<int64_t>(bytes)});
  return static_cast<std::byte*>(memory_.back().raw());
}

namespace {
float* find_address(const std::vector<std::pair<ValueId, float*>>& table, ValueId value, const char* what) {
  for (const auto& [id, address] : table)
    if (id == value) return address;
  throw Error(ErrorCode::kInternal, std::string("internal error: the ") + what + " of value " + std::to_string(value) +
                                        " was not asked for when the program was compiled; please report it");
}
using Clock = std::chrono::steady_clock;
}  // namespace

float* CpuProgram::data(ValueId value) { return find_address(data_, value, "content"); }
float* CpuProgram::gradient(ValueId value) { return find_address(gradients_, value, "gradient"); }

void CpuProgram::forward() {
  const ThreadLimit limit(*threads_);
  for (size_t k = 0; k < steps_.size(); ++k) {
    const auto start = profiling_ ? Clock::now() : Clock::time_point{};
    steps_[k]->forward();
    if (profiling_) forward_seconds_[k] += std::chrono::duration<double>(Clock::now() - start).count();
  }
}

void CpuProgram::backward() {
  const ThreadLimit limit(*threads_);
  for (size_t k = 0; k < backward_steps_.size(); ++k) {
    const auto start = profiling_ ? Clock::now() : Clock::time_point{};
    backward_steps_[k]->backward();
    if (profiling_) backward_seconds_[k] += std::chrono::duration<double>(Clock::now() - start).count();
  }
}

std::vector<Program::NodeTime> CpuProgram::profile() const {
  std::vector<NodeTime> times;
  std::unordered_map<const Step*, double> backward;
  for (size_t k = 0; k < backward_steps_.size(); ++k) backward[backward_steps_[k]] = backward_seconds_[k];
  for (size_t k = 0; k < steps_.size() && profiling_; ++k)
    times.push_back({steps_[k]->node, steps_[k]->implementation(), forward_seconds_[k], backward[steps_[k].get()]});
  std::fill(forward_seconds_.begin(), forward_seconds_.end(), 0.0);
  std::fill(backward_seconds_.begin(), backward_seconds_.end(), 0.0);
  return times;
}

}  // namespace actmatch::cpu
