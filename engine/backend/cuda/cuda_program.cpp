#include "engine/backend/cuda/cuda_program.h"

#include <chrono>
#include <map>
#include <unordered_map>

#include "engine/backend/cuda/cuda_memory.h"
#include "engine/backend/cuda/trace_range.h"
#include "engine/backend/program_plan.h"
#include "engine/core/error.h"

namespace actmatch::cuda {

// Whole sectors and what vector loads want; cudaMalloc's own.
static constexpr size_t kAlignment = 256;

CudaProgram::CudaProgram(const Graph& graph, const CompileOptions& options, const Engine& engine, WeightCache& weights) : engine_(engine) {
  const bool training = !options.gradients.wanted.empty() || !options.gradients.seeds.empty();
  require_seeds_unwanted(graph, options.gradients);
  if (training) schedule_ = make_gradient_schedule(graph, options.gradients);
  Lowering lowering(graph, options, training ? &schedule_ : nullptr, engine, weights);
  lowering.run();
  slots_ = std::move(lowering.slots());
  steps_ = std::move(lowering.steps());
  if (training) backward_steps_ = plan_gradients(slots_, steps_);
  std::map<const Slot*, GradTarget*> last;
  for (Step* step : backward_steps_)
    for (GradTarget* target : step->grads) last[target->slot] = target;
  for (const auto& [slot, target] : last) target->last = true;
  for (auto& step : steps_) step->plan();
  for (auto& slot : slots_)
    if (slot->constant) slot->data = static_cast<std::byte*>(slot->constant->data());
  plan_program_memory(
      slots_, steps_, backward_steps_, kAlignment, [this](size_t bytes) { return allocate(bytes); }, report_);

  for (size_t v = 0; v < graph.values().size(); ++v) {
    const auto id = static_cast<ValueId>(v);
    const Value& value = graph.values()[v];
    if (const Slot* slot = lowering.exposed(id)) {
      data_.emplace_back(id, reinterpret_cast<float*>(slot->data));
      if (value.kind == ValueKind::kParameter) copy_to_device(engine.stream, slot->data, value.constant->raw(), slot->bytes);
    }
    if (const Slot* seed = lowering.seed(id)) gradients_.emplace_back(id, reinterpret_cast<float*>(seed->grad));
  }
  for (ValueId id : options.gradients.wanted) {
    const Slot* slot = lowering.gradient(id);
    std::byte* gradient = slot ? slot->grad : nullptr;
    if (gradient == nullptr)  // no seed depends on it: zeros, for good
      gradient = allocate(static_cast<size_t>(element_count(graph.value(id).shape)) * sizeof(float));
    gradients_.emplace_back(id, reinterpret_cast<float*>(gradient));
  }
  forward_seconds_.assign(steps_.size(), 0.0);
  backward_seconds_.assign(steps_.size(), 0.0);
  ACTMATCH_CUDA(cudaStreamSynchronize(engine.stream));
}

// Filled with zeros: what is exposed must not show what was there before.
std::byte* CudaProgram::allocate(size_t bytes) {
  memory_.emplace_back(bytes);
  fill_zero(engine_.stream, memory_.back().data(), bytes);
  return static_cast<std::byte*>(memory_.back().data());
}

namespace {
float* find_address(const std::vector<std::pair<ValueId, float*>>& table, ValueId value, const char* what) {
  for (const auto& [id, address] : table)
    if (id == value) return address;
  throw Error(ErrorCode::kInternal, std::string("internal error: the ") + what + " of value " + std::to_string(value) +
                                        " was not asked for when the program was compiled; please report it");
}

template <class Work>
void timed(cudaStream_t stream, double& seconds, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  ACTMATCH_CUDA(cudaStreamSynchronize(stream));
  seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
}  // namespace

float* CudaProgram::data(ValueId value) { return find_address(data_, value, "content"); }
float* CudaProgram::gradient(ValueId value) { return find_address(gradients_, value, "gradient"); }

void CudaProgram::forward() {
  const TraceRange range("network forward");
  for (size_t k = 0; k < steps_.size(); ++k) {
    if (profiling_)
      timed(engine_.stream, forward_seconds_[k], [&] { steps_[k]->forward(); });
    else
      steps_[k]->forward();
  }
}

void CudaProgram::backward() {
  const TraceRange range("network backward");
  for (size_t k = 0; k < backward_steps_.size(); ++k) {
    if (profiling_)
      timed(engine_.stream, backward_seconds_[k], [&] { backward_steps_[k]->backward(); });
    else
      backward_steps_[k]->backward();
  }
}

std::vector<Program::NodeTime> CudaProgram::profile() const {
  std::vector<NodeTime> times;
  std::unordered_map<const Step*, double> backward;
  for (size_t k = 0; k < backward_steps_.size(); ++k) backward[backward_steps_[k]] = backward_seconds_[k];
  for (size_t k = 0; k < steps_.size() && profiling_; ++k)
    times.push_back({steps_[k]->node, steps_[k]->implementation(), forward_seconds_[k], backward[steps_[k].get()]});
  std::fill(forward_seconds_.begin(), forward_seconds_.end(), 0.0);
  std::fill(backward_seconds_.begin(), backward_seconds_.end(), 0.0);
  return times;
}

}  // namespace actmatch::cuda
