// The optimisation of masks: the loop of METHOD "activation matching" (arXiv 2509.23051) with an exact area schedule, for a batch of
// pictures at once. What one step does is in step.h; here is what the host does meanwhile: it counts, reads the trace, reports, stops.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/explain/problem.h"
#include "engine/explain/recipe.h"

namespace actmatch {

struct TermTrace {
  std::string term;           // "act", "kl", "ce", "margin", "area", "bin", "tv", "rob", "nec", unweighted; "total", weighted
  std::vector<float> values;  // one a step
};

// After each step and for each picture of the batch in turn. Where the device works ahead by itself, several steps are reported at once.
struct Progress {
  int64_t step = 0, steps = 0;
  double area = 0;  // of the hard mask
  const std::vector<TermTrace>* losses = nullptr;
  double seconds = 0, seconds_left = 0;
  int64_t picture = 0;  // its place in the batch
};
// Return false to stop; the caller of the loop then throws kCancelled.
using ProgressCallback = std::function<bool(const Progress&)>;

struct OptimisedMask {
  std::vector<float> logits;  // [H, W] s after the last step
  std::vector<float> soft;    // [H, W] m after the last step
  HardMask best;              // the smallest hard mask that kept the label (and tau) while optimising; empty when none did
  std::vector<TermTrace> losses;
  int64_t steps = 0;
  int64_t passes_per_step = 0;  // images through the classifier in one step, for this picture
  double seconds = 0;           // this picture's share of the batch's time
  size_t memory_bytes = 0;      // and of its programs: arena, weights, exposed values
  std::string failure;          // the loss became no number: the rest is worthless. Empty: all is well
};

class Optimiser {
 public:
  // Compiles the programs for batches of that size; they are reused for many pictures of one model.
  Optimiser(Classifier& classifier, const Recipe& recipe, int64_t batch = 1);
  ~Optimiser();

  // Makes ready for batches of `batch` pictures. Throws kOutOfMemory when that is too many; a smaller batch may be asked for then.
  void prepare(int64_t batch);
  int64_t ready() const;  // the size that is ready; 0 after a failure
  // What a batch of that size takes of the device's memory, judged by the size that is ready.
  size_t estimate_bytes(int64_t batch) const;

  // One mask for each problem. The problems share seed, criterion and random backgrounds; what is found for a picture does not depend on
  // the others. A batch of another size than the one that is ready is prepared for, unless it fills more than half of that one.
  std::vector<OptimisedMask> run(std::span<const Problem> problems, uint64_t seed, const ProgressCallback& progress);
  // For one; throws what would be its failure.
  OptimisedMask run(const Problem& problem, uint64_t seed, const ProgressCallback& progress);

  const std::vector<std::string>& tap_names() const;
  int64_t passes_per_step() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace actmatch
