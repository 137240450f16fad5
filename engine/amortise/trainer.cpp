#include "engine/amortise/trainer.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"

namespace actmatch {

Trainer::Trainer(Classifier& classifier, const TrainingPlan& plan)
    : backend_(classifier.backend()), plan_(plan), step_(classifier, plan.recipe, matched_taps(classifier, plan.recipe), plan.batch, true) {
  step_.generator().start(plan.seed);
}

TrainingLosses Trainer::step(std::span<const Problem> problems) {
  const int64_t number = done_ + 1;
  step_.show(problems, number, drawn_areas(plan_.recipe.area, plan_.batch, plan_.seed, number),
             learning_rate_at(plan_.learning_rate, number, plan_.recipe.steps));
  step_.run();
  const TrainingLosses losses = read(number, plan_.batch);
  if (!std::isfinite(losses.total()))
    throw Error(ErrorCode::kInvalidArgument, "the loss became " + std::to_string(losses.total()) + " at step " + std::to_string(number) +
                                                 "; a smaller learning rate, or smaller weights in the recipe, cure that");
  done_ = number;
  return losses;
}

TrainingLosses Trainer::look(std::span<const Problem> problems, int64_t first) {
  const int64_t number = std::max<int64_t>(1, plan_.recipe.steps);  // as at the end of the training, always the same backgrounds
  const auto count = static_cast<int64_t>(problems.size());
  step_.show(problems, number, fixed_areas(plan_.recipe.area, count, first), 0.0);
  step_.look();
  return read(number, count);
}

TrainingLosses Trainer::read(int64_t number, int64_t pictures) const {
  std::vector<float> block(step_.report_floats());
  backend_.download(block.data(), step_.report(), block.size());
  const OptimisationStep::Report report(block, plan_.batch);
  TrainingLosses mean;
  for (int64_t b = 0; b < pictures; ++b) {
    const auto row = report.row(number - 1, b);
    for (size_t t = 0; t < mean.terms.size(); ++t) mean.terms[t] += row[t] / static_cast<double>(pictures);
    mean.kept += row[kernels::kTraceKept] / static_cast<double>(pictures);
  }
  return mean;
}

TrainingState Trainer::state() const {
  TrainingState state;
  state.steps_done = done_;
  const Trainable& g = step_.generator();
  for (const Trainable::Parameter& p : g.parameters()) {
    std::vector<float> values(static_cast<size_t>(p.count));
    backend_.download(values.data(), g.program().data(p.value), values.size());
    state.arrays["parameter/" + g.name_of(p)] = std::move(values);
    state.arrays["first/" + g.name_of(p)] = p.first.download();
    state.arrays["second/" + g.name_of(p)] = p.second.download();
  }
  return state;
}

void Trainer::restore(const TrainingState& state) {
  const Trainable& g = step_.generator();
  const auto put = [&](const std::string& name, float* device, int64_t count) {
    const auto it = state.arrays.find(name);
    if (it == state.arrays.end() || static_cast<int64_t>(it->second.size()) != count)
      throw Error(ErrorCode::kFormat,
                  "the checkpoint has no array '" + name + "' of " + std::to_string(count) + " numbers; it belongs to another generator");
    backend_.upload(device, it->second.data(), it->second.size());
  };
  for (const Trainable::Parameter& p : g.parameters()) {
    put("parameter/" + g.name_of(p), g.program().data(p.value), p.count);
    put("first/" + g.name_of(p), p.first.data(), p.count);
    put("second/" + g.name_of(p), p.second.data(), p.count);
  }
  done_ = state.steps_done;
}

Graph Trainer::graph() const {
  const Trainable& g = step_.generator();
  Generator one = g.build(1);
  for (const Trainable::Parameter& p : g.parameters()) {
    Value& value = one.graph.mutable_value(one.graph.find(g.name_of(p)));
    Tensor trained(DType::kF32, value.shape);
    backend_.download(trained.data<float>(), g.program().data(p.value), static_cast<size_t>(p.count));
    value.constant = std::make_shared<const Tensor>(std::move(trained));
  }
  one.graph.mutable_value(one.logits).name = "logits";
  return std::move(one.graph);
}

}  // namespace actmatch
