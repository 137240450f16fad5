// The optimisation of masks: the loop of METHOD "activation matching" (arXiv 2509.23051) with an exact area schedule, for a batch of
// pictures at once. What one step does is in step.h; here is what the host does meanwhile: it counts, reads the trace, reports, stops.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/explain/method.h"
#include "engine/explain/recipe.h"

namespace actmatch {

using OptimisedMask = SoftMap;  // its logits: s after the last step; soft: m; hard: the smallest one met that kept the label (and tau)

class Optimiser : public Method {
 public:
  // Compiles the programs for batches of that size; they are reused for many pictures of one model.
  Optimiser(Classifier& classifier, const Recipe& recipe, int64_t batch = 1);
  ~Optimiser() override;

  // Makes ready for batches of `batch` pictures. Throws kOutOfMemory when that is too many; a smaller batch may be asked for then.
  void prepare(int64_t batch);
  // From now on a grid's logits begin as those that `first` has for a picture, spread as the recipe says; its passes count as well.
  void begin_from(std::function<SoftMap(const Problem&)> first);
  int64_t ready() const;  // the size that is ready; 0 after a failure
  // What a batch of that size takes of the device's memory, judged by the size that is ready.
  size_t estimate_bytes(int64_t batch) const;

  // One mask for each problem. The problems share seed, criterion and random backgrounds; what is found for a picture does not depend on
  // the others. A batch of another size than the one that is ready is prepared for, unless it fills more than half of that one.
  std::vector<OptimisedMask> run(std::span<const Problem> problems, uint64_t seed, const ProgressCallback& progress) override;
  // For one; throws what would be its failure.
  OptimisedMask run(const Problem& problem, uint64_t seed, const ProgressCallback& progress);

  const std::vector<std::string>& tap_names() const;
  int64_t passes_per_step() const;
  std::string implementation() const;  // of the step of the latest run: "CUDA graph of 143 nodes", "plain calls: <why>"

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace actmatch
