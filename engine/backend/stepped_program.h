// What a compiled program is on every backend: steps over slots, and a table of the addresses that the caller may use.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/backend/program_plan.h"

namespace actmatch {

template <class Slot, class Step>
class SteppedProgram : public Program {
 public:
  float* data(ValueId value) override { return find(data_, value, "content"); }
  float* gradient(ValueId value) override { return find(gradients_, value, "gradient"); }
  MemoryReport memory() const override { return report_; }
  void enable_profiling(bool on) override { profiling_ = on; }
  std::vector<Program::NodeTime> profile() const override {
    std::vector<Program::NodeTime> times;
    std::unordered_map<const Step*, double> backward;
    for (size_t k = 0; k < backward_steps_.size(); ++k) backward[backward_steps_[k]] = backward_seconds_[k];
    for (size_t k = 0; k < steps_.size() && profiling_; ++k)
      times.push_back({steps_[k]->node, steps_[k]->implementation(), forward_seconds_[k], backward[steps_[k].get()]});
    std::fill(forward_seconds_.begin(), forward_seconds_.end(), 0.0);
    std::fill(backward_seconds_.begin(), backward_seconds_.end(), 0.0);
    return times;
  }

 protected:
  // Takes over what `lowering` made and gives everything its place; `prepare()` is called once it is known which gradients are added to.
  template <class Lowering, class Prepare>
  void adopt(Lowering& lowering, bool training, size_t alignment, const std::function<std::byte*(size_t)>& allocate,
             const Prepare& prepare) {
    slots_ = std::move(lowering.slots());
    steps_ = std::move(lowering.steps());
    if (training) backward_steps_ = plan_gradients(slots_, steps_);
    prepare();
    plan_program_memory(slots_, steps_, backward_steps_, alignment, allocate, report_);
    forward_seconds_.assign(steps_.size(), 0.0);
    backward_seconds_.assign(steps_.size(), 0.0);
  }
  // Enters the caller's addresses. `fill_parameter(slot, tensor)` gives a parameter its initial value.
  template <class Lowering, class Fill>
  void expose(const Graph& graph, const CompileOptions& options, const Lowering& lowering,
              const std::function<std::byte*(size_t)>& allocate, const Fill& fill_parameter) {
    for (size_t v = 0; v < graph.values().size(); ++v) {
      const auto id = static_cast<ValueId>(v);
      const Value& value = graph.values()[v];
      if (const Slot* slot = lowering.exposed(id)) {
        data_.emplace_back(id, reinterpret_cast<float*>(slot->data));
        if (value.kind == ValueKind::kParameter) fill_parameter(*slot, *value.constant);
      }
      if (const Slot* seed = lowering.seed(id)) gradients_.emplace_back(id, reinterpret_cast<float*>(seed->grad));
    }
    for (ValueId id : options.gradients.wanted) {
      const Slot* slot = lowering.gradient(id);
      auto* gradient = slot ? reinterpret_cast<float*>(slot->grad) : nullptr;
      if (gradient == nullptr)  // no seed depends on it: zeros, for good
        gradient = reinterpret_cast<float*>(allocate(static_cast<size_t>(element_count(graph.value(id).shape)) * sizeof(float)));
      gradients_.emplace_back(id, gradient);
    }
  }
  // While profiling, `wait()` is called after each step, so that the host's clock shows the step's time.
  template <class Wait>
  void run_forward(const Wait& wait) {
    for (size_t k = 0; k < steps_.size(); ++k) timed(forward_seconds_[k], wait, [&] { steps_[k]->forward(); });
  }
  template <class Wait>
  void run_backward(const Wait& wait) {
    for (size_t k = 0; k < backward_steps_.size(); ++k) timed(backward_seconds_[k], wait, [&] { backward_steps_[k]->backward(); });
  }

  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<std::unique_ptr<Step>> steps_;
  std::vector<Step*> backward_steps_;
  MemoryReport report_;

 private:
  template <class Wait, class Work>
  void timed(double& seconds, const Wait& wait, const Work& work) {
    if (!profiling_) {
      work();
      return;
    }
    const auto start = std::chrono::steady_clock::now();
    work();
    wait();
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  static float* find(const std::vector<std::pair<ValueId, float*>>& table, ValueId value, const char* what) {
    for (const auto& [id, address] : table)
      if (id == value) return address;
    throw Error(ErrorCode::kInternal, std::string("internal error: the ") + what + " of value " + std::to_string(value) +
                                          " was not asked for when the program was compiled; please report it");
  }

  std::vector<std::pair<ValueId, float*>> data_, gradients_;
  bool profiling_ = false;
  mutable std::vector<double> forward_seconds_, backward_seconds_;  // by step, since profile() was last called
};

}  // namespace actmatch
