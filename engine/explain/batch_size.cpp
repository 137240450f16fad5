#include "engine/explain/batch_size.h"

#include <algorithm>

namespace actmatch {

namespace {

// Free memory comes in pieces, and other programs on the device want some of it, too.
constexpr double kUsable = 0.9;

// What the checks of hard masks keep in memory, in images of the optimisation's program: forward programs for powers of two up to
// `preferred`, together for twice as many images, each a quarter of an image that has gradients too (0.22 to 0.24 on SqueezeNet,
// MobileNetV2 and the shipped classifier); and gradient programs for 8 and for 1.
double checked_images(int64_t preferred) { return 0.5 * static_cast<double>(preferred) + 9.0; }
// Each of them may have the weights once more.
constexpr double kCheckedWeights = 3.0;

BatchFacts facts_of(Explainer& explainer, Classifier& classifier, int64_t pictures) {
  if (!explainer.optimiser()) return {};
  Optimiser& optimiser = *explainer.optimiser();
  if (optimiser.ready() == 0) optimiser.prepare(1);
  const Backend& backend = classifier.backend();
  BatchFacts facts;
  facts.pictures = pictures;
  facts.passes = optimiser.passes_per_step();
  facts.preferred = backend.preferred_batch();
  const size_t one = optimiser.estimate_bytes(1);
  facts.each = optimiser.estimate_bytes(2) - one;
  facts.fixed = one - facts.each;
  if (const size_t free = backend.free_memory(); free > 0)
    facts.room = free + optimiser.estimate_bytes(optimiser.ready()) + classifier.program_bytes();
  return facts;
}

}  // namespace

int64_t choose_batch(const BatchFacts& facts) {
  if (facts.room == 0 || facts.pictures <= 1) return 1;
  const int64_t busy = (facts.preferred + facts.passes - 1) / facts.passes;
  const double image = static_cast<double>(facts.each) / static_cast<double>(facts.passes);
  const double fixed = (1.0 + kCheckedWeights) * static_cast<double>(facts.fixed);
  const double left = kUsable * static_cast<double>(facts.room) - fixed - image * checked_images(facts.preferred);
  // As a double, because a device may have room for more than any number of pictures.
  const double fit = facts.each > 0 ? left / static_cast<double>(facts.each) : static_cast<double>(facts.pictures);
  const auto most = static_cast<int64_t>(std::clamp(fit, 1.0, static_cast<double>(std::min(busy, facts.pictures))));
  const int64_t batches = (facts.pictures + most - 1) / most;
  return (facts.pictures + batches - 1) / batches;
}

BatchSize::BatchSize(Explainer& explainer, Classifier& classifier, int64_t asked, int64_t pictures)
    : classifier_(classifier),
      size_(asked > 0 ? std::min(asked, std::max<int64_t>(1, pictures)) : choose_batch(facts_of(explainer, classifier, pictures))) {}

std::string BatchSize::reduce() {
  if (size_ > 1) {
    const int64_t before = size_;
    size_ /= 2;
    return "the device's memory does not hold " + std::to_string(before) + " pictures at once; going on with " + std::to_string(size_);
  }
  const int64_t before = classifier_.max_batch();
  if (before == 1) return {};
  classifier_.limit_batch(before / 2);
  return "the device's memory does not hold " + std::to_string(before) + " masked images at once; going on with " +
         std::to_string(classifier_.max_batch());
}

}  // namespace actmatch
