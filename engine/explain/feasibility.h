// Runs the classifier on masked images: is a hard mask feasible, on which random backgrounds does the label hold?
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/explain/masked_pictures.h"

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

// Masks to be tried: a list, or one mask without each of some tiles, which is not copied for it. Refers to what it is made of.
class Candidates {
 public:
  // A list of masks is one, so without `explicit`.
  Candidates(std::span<const HardMask> masks) : masks_(masks) {}     // NOLINT(google-explicit-constructor)
  Candidates(const std::vector<HardMask>& masks) : masks_(masks) {}  // NOLINT(google-explicit-constructor)
  Candidates(const HardMask& mask, std::vector<kernels::PixelBox> without) : masks_(&mask, 1), removed_(std::move(without)), one_(true) {}

  size_t size() const { return one_ ? removed_.size() : masks_.size(); }
  std::span<const HardMask> masks() const { return masks_; }
  // Candidate i on the baseline colour.
  kernels::SelectJob job(size_t i) const {
    kernels::SelectJob job;
    if (one_)
      job.removed = removed_[i];
    else
      job.mask = static_cast<int32_t>(i);
    return job;
  }

 private:
  std::span<const HardMask> masks_;
  std::vector<kernels::PixelBox> removed_;
  bool one_ = false;
};

// Checks masks of one problem against the baseline colour and fixed sets of random backgrounds. Masks go to the device as bytes; the images
// under them are composed there.
class FeasibilityChecker {
 public:
  // `sets`: the backgrounds of this problem where there are some already; otherwise they are made.
  FeasibilityChecker(Classifier& classifier, const Problem& problem, std::shared_ptr<BackgroundSets> sets = nullptr);
  FeasibilityChecker(const FeasibilityChecker&) = delete;
  FeasibilityChecker& operator=(const FeasibilityChecker&) = delete;
  // From now on questions go there, until the next call; null: each is answered at once, as it is in the beginning.
  void ask(MaskedAnswers* answers) { answers_ = answers ? answers : &at_once_; }

  // On the baseline background, many masks at once.
  std::vector<BaselineCheck> baseline(const Candidates& masks);
  // The images without the masks' pixels: (1-m)*x + m*b0.
  std::vector<BaselineCheck> complement(const Candidates& masks);
  // Number of backgrounds of `stream` on which the label holds, of criterion.backgrounds.
  int64_t held(const HardMask& mask, kernels::RandomStream stream);
  // The same on the next K backgrounds of the certify stream, which nothing but this looks at: pruning cannot have fitted them.
  int64_t held_fresh(const HardMask& mask);
  // Margins of the label on each background of the stream.
  std::vector<float> margins(const HardMask& mask, kernels::RandomStream stream);
  // The criterion on the given streams (ignored unless robust), for many masks; stops early for masks that have failed.
  // `spare`: so many backgrounds more than needed have to hold, at most all of them. `hint`: the backgrounds to try and their order, most
  // critical first (indices into the streams' sets one after the other); a part of them can only refute a mask. Empty: all.
  std::vector<bool> feasible(const Candidates& masks, std::span<const kernels::RandomStream> streams, std::span<const int64_t> hint = {},
                             int64_t spare = 0);
  bool feasible(const HardMask& mask, std::span<const kernels::RandomStream> streams);
  // Margins on all backgrounds of the stream if the mask meets the criterion there, nothing if not; `order`: most critical ones first.
  std::vector<float> margins_if_feasible(const HardMask& mask, kernels::RandomStream stream, std::span<const int64_t> order);
  // So many backgrounds, the most critical ones, refute nearly every mask that some set of them refutes: one more than that takes.
  int64_t refuting_count() const;
  // Orders the backgrounds of the streams by the margin the mask has on them, smallest first.
  std::vector<int64_t> critical_order(const HardMask& mask, std::span<const kernels::RandomStream> streams);
  // Mean over the baseline and some backgrounds of the prune stream (by number) of the log-odds, each counted up to `cap`: what is left
  // to spend. Without backgrounds it is the baseline's log-odds alone.
  std::vector<float> spare_odds(const Candidates& masks, std::span<const int64_t> backgrounds, float cap);
  // How much each pixel of the mask is worth: the first-order rise of sum -log p_y over the backgrounds of the stream when the pixel goes
  // back to the background; `numbers` names some of the set, empty: all of it. [H, W], 0 outside the mask.
  std::vector<float> importance(const HardMask& mask, kernels::RandomStream stream, std::span<const int64_t> numbers = {});
  // First-order change of the label's log-odds on the baseline background when a pixel goes from background to picture, [H, W].
  std::vector<float> odds_gain(const HardMask& mask);

 private:
  std::vector<BaselineCheck> on_set(const HardMask& mask, BackgroundSets::Set set);
  int64_t count_held(const std::vector<BaselineCheck>& checks) const;
  // The classifier's answers to the jobs' images. Jobs speak of `masks`; without any, of those of the question before.
  std::vector<BaselineCheck> check(std::span<const kernels::SelectJob> jobs, std::span<const HardMask> masks, bool complement = false);
  std::vector<BaselineCheck> on_colour(const Candidates& masks, bool complement);
  BaselineCheck read(std::span<const float> logits) const;

  const Problem& problem_;
  MaskedPicture picture_;
  AnswersAtOnce at_once_;
  MaskedAnswers* answers_ = &at_once_;
};

}  // namespace actmatch
