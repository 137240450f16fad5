// Runs the classifier on masked images: is a hard mask feasible, on which random backgrounds does the label hold?
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/explain/background_sets.h"
#include "engine/explain/problem.h"

namespace actmatch {

struct BaselineCheck {
  int32_t top = -1;  // ties go to the lowest index, here and wherever "the label holds"
  float p_label = 0;
  float margin = 0;    // logit of the label minus the best other one
  float log_odds = 0;  // log p / (1 - p) of the label: unlike p it does not saturate
  bool sufficient = false;
};

// How many of K backgrounds must keep the label: the smallest integer that is at least rho * K.
int64_t needed_backgrounds(double rho, int64_t count);

// Checks masks of one problem against the baseline colour and fixed sets of random backgrounds. Masks go to the device as bytes; the images
// under them are composed there.
class FeasibilityChecker {
 public:
  // `sets`: the backgrounds of this problem where there are some already; otherwise they are made.
  FeasibilityChecker(Classifier& classifier, const Problem& problem, std::shared_ptr<BackgroundSets> sets = nullptr);

  // On the baseline background, many masks at once.
  std::vector<BaselineCheck> baseline(std::span<const HardMask> masks);
  // The images without the masks' pixels: (1-m)*x + m*b0.
  std::vector<BaselineCheck> complement(std::span<const HardMask> masks);
  // Number of backgrounds of `stream` on which the label holds, of criterion.backgrounds.
  int64_t held(const HardMask& mask, kernels::RandomStream stream);
  // The same on the next K backgrounds of the certify stream, which nothing but this looks at: pruning cannot have fitted them.
  int64_t held_fresh(const HardMask& mask);
  // Margins of the label on each background of the stream.
  std::vector<float> margins(const HardMask& mask, kernels::RandomStream stream);
  // The criterion on the given streams (ignored unless robust), for many masks; stops early for masks that have failed.
  // `spare`: so many backgrounds more than needed have to hold, at most all of them. `hint`: the backgrounds to try and their order, most
  // critical first (indices into the streams' sets one after the other); a part of them can only refute a mask. Empty: all.
  std::vector<bool> feasible(std::span<const HardMask> masks, std::span<const kernels::RandomStream> streams,
                             std::span<const int64_t> hint = {}, int64_t spare = 0);
  bool feasible(const HardMask& mask, std::span<const kernels::RandomStream> streams);
  // Margins on all backgrounds of the stream if the mask meets the criterion there, nothing if not; `order`: most critical ones first.
  std::vector<float> margins_if_feasible(const HardMask& mask, kernels::RandomStream stream, std::span<const int64_t> order);
  // So many backgrounds, the most critical ones, refute nearly every mask that some set of them refutes: one more than that takes.
  int64_t refuting_count() const;
  // Orders the backgrounds of the streams by the margin the mask has on them, smallest first.
  std::vector<int64_t> critical_order(const HardMask& mask, std::span<const kernels::RandomStream> streams);
  // Mean over the baseline and some backgrounds of the prune stream (by number) of the log-odds, each counted up to `cap`: what is left
  // to spend. Without backgrounds it is the baseline's log-odds alone.
  std::vector<float> spare_odds(std::span<const HardMask> masks, std::span<const int64_t> backgrounds, float cap);
  // How much each pixel of the mask is worth: the first-order rise of sum -log p_y over the backgrounds of the stream when the pixel goes
  // back to the background; `numbers` names some of the set, empty: all of it. [H, W], 0 outside the mask.
  std::vector<float> importance(const HardMask& mask, kernels::RandomStream stream, std::span<const int64_t> numbers = {});
  // First-order change of the label's log-odds on the baseline background when a pixel goes from background to picture, [H, W].
  std::vector<float> odds_gain(const HardMask& mask);

 private:
  std::vector<BaselineCheck> on_set(const HardMask& mask, BackgroundSets::Set set);
  int64_t count_held(const std::vector<BaselineCheck>& checks) const;
  // The masks that jobs speak of from now on.
  void take(std::span<const HardMask> masks);
  // The classifier's answers to the jobs' images, in batches.
  std::vector<BaselineCheck> check(std::span<const kernels::SelectJob> jobs, bool complement = false);
  std::vector<BaselineCheck> on_colour(std::span<const HardMask> masks, bool complement);
  BaselineCheck read(const float* logits) const;
  // Sets of the jobs are made; jobs are uploaded.
  kernels::SelectSources<float> prepare(std::span<const kernels::SelectJob> jobs);
  // Runs a gradient program on the first `n` of its images, which are composed from uploaded jobs, then backward from what
  // `gradient_of(logits)` writes over each row of logits.
  void back_from_logits(Classifier::Training& net, const kernels::SelectSources<float>& sources, const kernels::SelectJob* jobs, int64_t n,
                        const std::function<void(std::span<float>)>& gradient_of);

  Classifier& classifier_;
  Backend& backend_;
  const Problem& problem_;
  int64_t pixels_;
  std::shared_ptr<BackgroundSets> sets_;
  DeviceBuffer x_, colour_, gain_;
  DeviceArray<uint8_t> masks_;
  DeviceArray<kernels::SelectJob> jobs_;
};

}  // namespace actmatch
