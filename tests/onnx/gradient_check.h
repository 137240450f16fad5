// The gradient of a whole graph on a backend, along one random direction of its inputs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "engine/backend/backend.h"
#include "engine/core/error.h"
#include "engine/graph/gradient.h"
#include "tests/oracle/oracle.h"
#include "tests/support/compare.h"
#include "tests/support/random_arrays.h"

namespace actmatch::test {

inline double relative_difference(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double relative = std::abs(a - b) / (1 + std::abs(b));
  return std::isnan(relative) ? HUGE_VAL : relative;
}

// The gradient of sum(r y), r random, along a random direction of the inputs, against the central difference of the graph in double. The
// step's error is step^2 times a third derivative, below 1e-9 for functions of size 1; the gradient is in single, so 1e-4 of the sum of the
// terms' sizes leaves room for sums of a few hundred roundings.
class GradientCheck {
 public:
  GradientCheck(Backend& backend, const Graph& graph, const std::map<std::string, Tensor>& fed) : graph_(graph) {
    GradientRequest& request = options_.gradients;
    for (ValueId id : graph.inputs())
      if (graph.value(id).dtype == DType::kF32 && element_count(graph.value(id).shape) > 0) request.wanted.push_back(id);
    for (ValueId id : graph.outputs())
      if (graph.value(id).dtype == DType::kF32 && graph.value(id).kind == ValueKind::kActivation) request.seeds.push_back(id);
    std::sort(request.seeds.begin(), request.seeds.end());
    request.seeds.erase(std::unique(request.seeds.begin(), request.seeds.end()), request.seeds.end());
    if (request.wanted.empty() || request.seeds.empty()) return;
    std::erase_if(request.wanted, [&](ValueId v) {
      try {
        return !make_gradient_schedule(graph, {request.seeds, {v}}).unreachable.empty();
      } catch (const Error&) {
        return true;  // behind an operator without a gradient
      }
    });
    if (request.wanted.empty()) return;
    program_ = backend.compile(graph, options_);
    for (ValueId id : graph.inputs()) inputs_[id] = oracle::from_tensor<double>(fed.at(graph.value(id).name));
    for (ValueId id : request.seeds) seeds_[id] = random_.uniform(graph.value(id).shape);
    for (ValueId id : request.wanted) directions_[id] = random_.uniform(graph.value(id).shape);
  }

  // What is wrong, or nothing; `compared`: there was something to compare. A case may stand on a kink or a jump (of relu at 0, of a maximum
  // that two share): then its neighbourhood is looked at.
  std::string run(bool& compared) {
    if (!program_) return {};
    std::string wrong;
    for (const double away : {0.0, 1e-3, -3e-3}) {
      std::map<ValueId, Doubles> at = inputs_;
      for (const auto& [id, direction] : directions_) {
        const Doubles apart = random_.uniform(direction.shape, 0.5, 1);
        for (int64_t i = 0; i < direction.count(); ++i) at[id][i] = static_cast<float>(at[id][i] + away * apart[i] * (i % 2 ? 1 : -0.7));
      }
      bool defined = true;
      wrong = differs(at, defined);
      if (!defined) return {};
      if (wrong.empty()) {
        compared = true;
        return {};
      }
    }
    return wrong;
  }

 private:
  using Arrays = std::map<ValueId, Doubles>;
  // `defined`: the loss is a number.
  std::string differs(const Arrays& at, bool& defined) {
    for (ValueId id : graph_.inputs()) {
      const Tensor tensor = to_tensor(at.at(id), graph_.value(id).dtype);
      if (tensor.bytes() > 0) std::memcpy(program_->data(id), tensor.raw(), tensor.bytes());
    }
    program_->forward();
    for (const auto& [id, seed] : seeds_)
      for (int64_t i = 0; i < seed.count(); ++i) program_->gradient(id)[i] = static_cast<float>(seed[i]);
    program_->backward();
    double along = 0, size = 0;
    for (const auto& [id, direction] : directions_)
      for (int64_t i = 0; i < direction.count(); ++i) {
        const double term = static_cast<double>(program_->gradient(id)[i]) * direction[i];
        along += term;
        size += std::abs(term);
      }
    constexpr double kStep = 1e-5;
    const double expected = (loss(at, kStep) - loss(at, -kStep)) / (2 * kStep);
    defined = std::isfinite(expected);
    if (relative_difference(along, expected) <= 1e-4 || std::abs(along - expected) <= 1e-4 * size) return {};
    return "the gradient along a direction is " + std::to_string(along) + ", central differences give " + std::to_string(expected);
  }
  double loss(Arrays at, double step) const {
    for (const auto& [id, direction] : directions_)
      for (int64_t i = 0; i < direction.count(); ++i) at[id][i] += step * direction[i];
    const auto values = oracle::run<double>(graph_, at, {}).values;
    double sum = 0;
    for (const auto& [id, seed] : seeds_)
      for (int64_t i = 0; i < seed.count(); ++i) sum += seed[i] * values[static_cast<size_t>(id)][i];
    return sum;
  }
  const Graph& graph_;
  CompileOptions options_;
  std::unique_ptr<Program> program_;
  RandomArrays random_{3};
  Arrays inputs_, seeds_, directions_;
};

}  // namespace actmatch::test
