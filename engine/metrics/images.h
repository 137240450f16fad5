// What metrics share: altered pictures through the classifier, many at once; the order of the pixels; shapes of masks.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/methods/fills.h"
#include "engine/metrics/metric.h"

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
  for (size_t plane = 0; plane < x.size(); plane += pixels)
    for (size_t i = 0; i < pixels; ++i) {
      const auto m = static_cast<float>(mask[i]);
      const float keep = complement ? 1.0f - m : m;
      out[plane + i] = keep * x[plane + i] + (1.0f - keep) * background[plane + i];
    }
}

// Random background number k [C, H, W], in turn of these kinds: for each pixel and channel mu + sigma N(0, 1), the mean and deviation of
// photos (kernels/random_background.h), so N(0, 1) where the network's input is normalised by them; mu + sigma U(-1, 1); the picture's own
// square patches in random order (`patch` pixels a side, at most the picture's; edge pieces where they do not divide it: they stay); other
// pictures, where there are some. In network units; drawn from fixed numbers: the same for every method.
std::vector<float> random_background(const MetricInput& in, const ClassifierShape& shape, int64_t patch, int64_t k);

// 8-connected components: their number, and for each pixel which (from 1; 0 outside the mask).
struct Components {
  int64_t count = 0;
  std::vector<int32_t> of;
};
Components connected_components(const HardMask& mask, int64_t height, int64_t width);

// Intersection over union; NaN for two empty masks.
double iou(const HardMask& a, const HardMask& b);

// Uniform number `index` of (field, draw) of the stream kMetric; the first `count` of them; as many normal ones.
double metric_uniform(uint32_t field, uint32_t draw, uint64_t index);
std::vector<double> metric_uniforms(uint32_t field, uint32_t draw, size_t count);
std::vector<double> metric_normals(uint32_t field, uint32_t draw, size_t count);

}  // namespace actmatch
