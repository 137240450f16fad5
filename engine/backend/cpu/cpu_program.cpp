#include "engine/backend/cpu/cpu_program.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <set>
#include <unordered_map>

#include "engine/backend/cpu/loops.h"
#include "engine/core/error.h"
#include "engine/memory/planner.h"

namespace actmatch::cpu {

CpuProgram::CpuProgram(const Graph& graph, const CompileOptions& options, const dnnl::engine& engine, WeightCache& weights,
                       const int* threads)
    : threads_(threads) {
  const bool training = !options.gradients.wanted.empty() || !options.gradients.seeds.empty();
  for (ValueId id : options.gradients.wanted)  // the gradient of such a value would be both the caller's and ours
    if (std::count(options.gradients.seeds.begin(), options.gradients.seeds.end(), id) > 0)
      throw Error(ErrorCode::kInvalidArgument,
                  "value '" + graph.value(id).name + "' is a seed and a wanted gradient at once; put an identity behind it and seed that");
  if (training) schedule_ = make_gradient_schedule(graph, options.gradients);
  Lowering lowering(graph, options, training ? &schedule_ : nullptr, engine, weights);
  lowering.run();
  slots_ = std::move(lowering.slots());
  steps_ = std::move(lowering.steps());
  if (training) plan_gradients();
  for (auto& step : steps_) step->plan();
  plan_memory();
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

// Walks the steps backward: which of them run, and which gradients are written a second time.
void CpuProgram::plan_gradients() {
  std::set<const Slot*> written;
  for (size_t k = steps_.size(); k-- > 0;) {
    Step& step = *steps_[k];
    if (step.grads.empty()) continue;
    bool active = step.writes.empty();  // a seed
    for (const Slot* slot : step.writes) active = active || written.count(slot) != 0;
    if (!active) {
      step.grads.clear();
      continue;
    }
    for (GradTarget* target : step.grads) target->accumulate = !written.insert(target->slot).second;
    backward_steps_.push_back(&step);
  }
  for (auto& slot : slots_)
    if (slot->has_grad && !slot->persistent_grad && written.count(slot.get()) == 0) slot->has_grad = false;
}

std::byte* CpuProgram::allocate(size_t bytes) {
  memory_.emplace_back(DType::kBool, Shape{static_cast<int64_t>(bytes)});
  return static_cast<std::byte*>(memory_.back().raw());
}

void CpuProgram::plan_memory() {
  const int forward_count = static_cast<int>(steps_.size());
  struct Range {
    int first = -1, last = -1;
    void touch(int t) {
      first = first < 0 ? t : std::min(first, t);
      last = std::max(last, t);
    }
  };
  std::unordered_map<const Slot*, Range> data_life, grad_life;
  std::vector<LifetimeRequest> requests;
  std::vector<std::byte**> addresses;
  std::vector<std::byte*> grad_addresses(slots_.size(), nullptr);
  const auto request = [&](size_t bytes, Range life, std::byte** address) {
    requests.push_back({bytes, life.first, life.last});
    addresses.push_back(address);
  };
  for (int k = 0; k < forward_count; ++k)
    for (const auto* list : {&steps_[static_cast<size_t>(k)]->reads, &steps_[static_cast<size_t>(k)]->writes})
      for (const Slot* slot : *list) data_life[slot].touch(k);
  std::unordered_map<const Step*, int> when_backward;
  for (size_t k = 0; k < backward_steps_.size(); ++k) {
    const int t = forward_count + static_cast<int>(k);
    Step& step = *backward_steps_[k];
    when_backward[&step] = t;
    for (const Slot* slot : step.backward_reads) data_life[slot].touch(t);
    for (const Slot* slot : step.writes) grad_life[slot].touch(t);
    for (const GradTarget* target : step.grads) grad_life[target->slot].touch(t);
  }
  for (int k = 0; k < forward_count; ++k) {
    Step& step = *steps_[static_cast<size_t>(k)];
    const auto back = when_backward.find(&step);
    for (auto& scratch : step.scratch) {
      Range life;
      if (scratch->when != Scratch::When::kBackward) life.touch(k);
      if (scratch->when != Scratch::When::kForward && back != when_backward.end()) life.touch(back->second);
      if (life.first >= 0) request(scratch->bytes, life, &scratch->data);
    }
  }
  for (size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = *slots_[i];
    if (slot.constant) {
      slot.data = const_cast<std::byte*>(static_cast<const std::byte*>(slot.constant->raw()));
      report_.weight_bytes += slot.bytes;
    } else if (slot.persistent) {
      slot.data = allocate(slot.bytes);
      report_.exposed_bytes += slot.bytes;
    } else if (data_life.count(&slot)) {
      request(slot.bytes, data_life[&slot], &slot.data);
    }
    if (slot.has_grad && slot.persistent_grad) {
      slot.grad = reinterpret_cast<float*>(allocate(slot.bytes));
      report_.exposed_bytes += slot.bytes;
    } else if (slot.has_grad && grad_life.count(&slot)) {
      request(slot.bytes, grad_life[&slot], &grad_addresses[i]);
    }
  }
  const MemoryPlan plan = actmatch::plan_memory(requests);
  std::byte* arena = allocate(plan.total_bytes);
  report_.arena_bytes = plan.total_bytes;
  for (const auto& step : steps_) report_.arena_bytes += step->own_bytes();
  for (size_t i = 0; i < requests.size(); ++i) *addresses[i] = arena + plan.offsets[i];
  for (size_t i = 0; i < slots_.size(); ++i)
    if (grad_addresses[i]) slots_[i]->grad = reinterpret_cast<float*>(grad_addresses[i]);
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
