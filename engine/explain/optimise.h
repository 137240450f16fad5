// The optimisation of one mask: the loop of METHOD "activation matching" (arXiv 2509.23051) with an exact area schedule.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/explain/problem.h"
#include "engine/explain/recipe.h"

namespace actmatch {

struct TermTrace {
  std::string term;           // "act", "kl", "ce", "margin", "area", "bin", "tv", "rob", "nec", unweighted; "total", weighted
  std::vector<float> values;  // one a step
};

struct Progress {
  int64_t step = 0, steps = 0;
  double area = 0;  // of the hard mask
  const std::vector<TermTrace>* losses = nullptr;
  double seconds = 0, seconds_left = 0;
};
// Return false to stop; the caller of the loop then throws kCancelled.
using ProgressCallback = std::function<bool(const Progress&)>;

struct OptimisedMask {
  std::vector<float> logits;  // [H, W] s after the last step
  std::vector<float> soft;    // [H, W] m after the last step
  HardMask best;              // the smallest hard mask that kept the label (and tau) while optimising; empty when none did
  std::vector<TermTrace> losses;
  int64_t steps = 0;
  int64_t passes_per_step = 0;  // images through the classifier in one step
  double seconds = 0;
  size_t memory_bytes = 0;  // of the two programs: arena, weights, exposed values
};

class Optimiser {
 public:
  // Compiles the classifier for the recipe's passes; reused for many images of one model.
  Optimiser(Classifier& classifier, const Recipe& recipe);
  ~Optimiser();
  OptimisedMask run(const Problem& problem, uint64_t seed, const ProgressCallback& progress);
  const std::vector<std::string>& tap_names() const;
  int64_t passes_per_step() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace actmatch
