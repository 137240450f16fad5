// What metrics share: altered pictures through the classifier, many at once; the order of the pixels; shapes of masks.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/methods/fills.h"

namespace actmatch {

// Logits [n, classes] of images that `make(image, number)` writes [C, H, W], one after the other, in batches.
std::vector<float> logits_of_images(Classifier& classifier, int64_t n, const std::function<void(float* image, int64_t number)>& make);
// Of each row the softmax's entry at `label`.
std::vector<double> probabilities(const std::vector<float>& logits, int64_t classes, int32_t label);
// Of each row.
std::vector<int32_t> top_classes(const std::vector<float>& logits, int64_t classes);

// Pixels by the map and 1e-5 of fixed noise, the largest first.
std::vector<int64_t> ranking(const std::vector<float>& soft);

// m*x + (1-m)*b or, for the complement, the other way round; all [C, H, W] but the mask [H, W].
template <class Mask>
void blend_into(float* out, const std::vector<float>& x, const Mask& mask, const std::vector<float>& background, bool complement = false) {
  const size_t pixels = mask.size();
  for (size_t i = 0; i < x.size(); ++i) {
    const auto m = static_cast<float>(mask[i % pixels]);
    const float keep = complement ? 1.0f - m : m;
    out[i] = keep * x[i] + (1.0f - keep) * background[i];
  }
}

// 8-connected components: their number, and for each pixel which (from 1; 0 outside the mask).
struct Components {
  int64_t count = 0;
  std::vector<int32_t> of;
};
Components connected_components(const HardMask& mask, int64_t height, int64_t width);

// Intersection over union; NaN for two empty masks.
double iou(const HardMask& a, const HardMask& b);

// Uniform number `index` of (field, draw) of the stream kMetric.
double metric_uniform(uint32_t field, uint32_t draw, uint64_t index);
double metric_normal(uint32_t field, uint32_t draw, uint64_t index);

}  // namespace actmatch
