// Pictures from start to end: optimise (a batch at once), then for each take the smallest feasible level set, prune, certify.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/explain/optimise.h"
#include "engine/explain/prune.h"

namespace actmatch {

struct ExplainSettings {
  Criterion criterion;
  PruneOptions prune;
  uint64_t seed = 0;
  int64_t instances = 1;        // at most this many disjoint explanations
  int64_t instance_margin = 8;  // pixels around an earlier instance's mask that later ones must not use
};

struct ExplainProgress {
  const char* phase = "";  // "optimise", "prune"
  int64_t instance = 0;
  Progress optimise;    // meaningful in phase "optimise"
  double area = 0;      // of the current hard mask
  int64_t picture = 0;  // its place among the inputs
};
using ExplainProgressCallback = std::function<bool(const ExplainProgress&)>;  // false: stop, run() throws kCancelled

struct Explanation {
  HardMask mask;            // [H, W]
  std::vector<float> soft;  // [H, W]
  bool feasible = false;
  bool label_kept = false;  // argmax f(e) = y on the baseline background
  float p_e = 0;            // p_y(e)
  double area = 0;
  double background_stability = 0;  // share of the certify stream's backgrounds that keep the label
  double fresh_stability = 0;       // the same on as many further ones, which no part of the search has seen
  bool necessity = false;           // argmax f(c) != y
  float p_complement = 0;           // p_y(c)
  int64_t minimal_tile = 0;         // side of the tiles none of which can be removed; 0: not certified
  double pruned_from_area = 0;
  int64_t steps = 0, passes_per_step = 0;
  int64_t forward = 0, backward = 0;  // the method's cost, see SoftMap
  std::vector<TermTrace> losses;
  double optimise_seconds = 0, prune_seconds = 0;
  // Of the device's memory the most that the engine held (HeldMemory) while this picture was explained, by the pictures that were explained
  // with it; where the device does not count, what the method says of its programs.
  size_t memory_bytes = 0;
};

struct ExplainInput {
  std::vector<float> x;                 // [C, H, W] network units
  std::vector<float> colour;            // [C] baseline colour, network units
  kernels::BackgroundSpec backgrounds;  // height, width, channels, units; the seed is set from the settings
  int32_t label = -1;                   // -1: the top class
  uint32_t image_index = 0;
};

class Explainer {
 public:
  // By activation matching; compiles for batches of that many pictures.
  Explainer(Classifier& classifier, const Recipe& recipe, int64_t batch = 1);
  // By any method.
  Explainer(Classifier& classifier, std::unique_ptr<Method> method);
  ~Explainer();
  struct Outcome {
    int32_t label = 0;
    float p_x = 0;
    std::vector<Explanation> instances;  // at least one
    double seconds = 0;                  // this picture's share
    std::exception_ptr error;            // what was wrong with this picture alone (an Error); then there are no instances
  };
  Outcome explain(const ExplainInput& input, const ExplainSettings& settings, const ExplainProgressCallback& progress);
  // Masks of all inputs are optimised at once, then pruned: one after another where small batches are as quick as large ones, together
  // elsewhere. What is found for a picture does not depend on the others, but for the rounding of the classifier in batches of another size
  // where they are pruned together. The inputs share the random backgrounds (units and image_index). kOutOfMemory: fewer at once may do.
  std::vector<Outcome> explain_batch(std::span<const ExplainInput> inputs, const ExplainSettings& settings,
                                     const ExplainProgressCallback& progress);
  // For the size of the batch: prepare, estimate_bytes. Null for a method that takes one picture after the other.
  Optimiser* optimiser() { return dynamic_cast<Optimiser*>(method_.get()); }

 private:
  struct Task;
  struct Conclusion;
  // From soft maps to checked masks.
  void conclude(std::span<Conclusion> conclusions, const ExplainSettings& settings, int64_t instance,
                const ExplainProgressCallback& progress);

  Classifier& classifier_;
  std::unique_ptr<Method> method_;
  std::shared_ptr<BackgroundSets> sets_;  // of the latest pictures; nearly always those of the next ones too
};

// The problem that explain() and verify work on.
Problem make_problem(Classifier& classifier, const ExplainInput& input, const ExplainSettings& settings);
// Everything that can be said of a hard mask by running the classifier on it; fills the measured fields of an Explanation.
void measure(FeasibilityChecker& checker, const Problem& problem, const HardMask& mask, Explanation& out);

}  // namespace actmatch
