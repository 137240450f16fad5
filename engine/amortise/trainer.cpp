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
    state.arrays["parameter/" + g.name_of(p)] = g.download(p, g.program().data(p.value));
    state.arrays["first/" + g.name_of(p)] = g.download(p, p.first.data());
    state.arrays["second/" + g.name_of(p)] = g.download(p, p.second.data());
  }
  return state;
}

void Trainer::restore(const TrainingState& state) {
  const Trainable& g = step_.generator();
  const auto put = [&](const Trainable::Parameter& p, const std::string& what, float* device) {
    const std::string name = what + "/" + g.name_of(p);
    const auto it = state.arrays.find(name);
    if (it == state.arrays.end() || static_cast<int64_t>(it->second.size()) != p.count)
      throw Error(ErrorCode::kFormat,
                  "the checkpoint has no array '" + name + "' of " + std::to_string(p.count) + " numbers; it belongs to another generator");
    g.upload(p, device, it->second.data());
  };
  for (const Trainable::Parameter& p : g.parameters()) {
    put(p, "parameter", g.program().data(p.value));
    put(p, "first", p.first.data());
    put(p, "second", p.second.data());
  }
  done_ = state.steps_done;
}

Graph Trainer::graph() const {
  const Trainable& g = step_.generator();
  Generator one = g.build(1);
  for (const Trainable::Parameter& p : g.parameters()) {
    Value& value = one.graph.mutable_value(one.graph.find(g.name_of(p)));
    Tensor trained(DType::kF32, value.shape);
    const std::vector<float> values = g.download(p, g.program().data(p.value));
    std::copy(values.begin(), values.end(), trained.data<float>());
    value.constant = std::make_shared<const Tensor>(std::move(trained));
  }
  one.graph.mutable_value(one.logits).name = "logits";
  return std::move(one.graph);
}

}  // namespace actmatch
