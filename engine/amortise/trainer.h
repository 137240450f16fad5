// One generator for many pictures, trained by the objective that otherwise finds the mask of one (engine/explain/step.h): the steps are the
// same, but each shows other pictures, and the parameters are shared by them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/amortise/schedule.h"
#include "engine/explain/step.h"

namespace actmatch {

struct TrainingPlan {
  Recipe recipe;  // its generator is a net; its steps are the training's
  int64_t batch = 8;
  double learning_rate = 1e-3;  // the highest
  uint64_t seed = 0;
};

// Of the pictures of a step, means over them; unweighted terms, the weighted total.
struct TrainingLosses {
  std::array<double, kernels::kLossTerms + 1> terms{};  // by kernels::TraceColumn
  double kept = 0;                                      // share of the hard masks that keep the class
  double total() const { return terms[kernels::kTraceTotal]; }
};

// What a training is at a moment: continued from it, it does what it would have done.
struct TrainingState {
  int64_t steps_done = 0;
  std::map<std::string, std::vector<float>> arrays;  // "parameter/NAME", Adam's "first/NAME" and "second/NAME"
};

class Trainer {
 public:
  // Compiles the programs and draws the first weights.
  Trainer(Classifier& classifier, const TrainingPlan& plan);

  int64_t steps_done() const { return done_; }
  // The next step, on `batch` pictures (fewer: the last one stands for those that lack). Throws kInvalidArgument where the loss is no
  // number.
  TrainingLosses step(std::span<const Problem> problems);
  // Losses on at most `batch` pictures, which are number `first` and on of those that are only looked at; nothing is trained.
  TrainingLosses look(std::span<const Problem> problems, int64_t first);
  std::vector<float> logits(int64_t picture) const { return step_.logits(picture); }  // of the latest look, [H, W]

  TrainingState state() const;
  void restore(const TrainingState& state);  // throws kFormat where it is not one of this plan's
  // The generator as it is now, for one picture: input [1, C, H, W], output [1, 1, H, W].
  Graph graph() const;
  size_t memory_bytes() const { return step_.memory().programs; }

 private:
  TrainingLosses read(int64_t number, int64_t pictures) const;

  Backend& backend_;
  TrainingPlan plan_;
  mutable OptimisationStep step_;  // reading from it waits for the device
  int64_t done_ = 0;
};

}  // namespace actmatch
