// Background stability of the hard mask: e = h x + (1 - h) r on K random backgrounds r (random_background(), engine/metrics/images.h).
#include <algorithm>
#include <numeric>

#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {

namespace {

struct Options {
  int64_t backgrounds = 32, patch = 16;
};

std::vector<double> stability(Classifier& classifier, const MetricInput& in, const Options& options) {
  const Problem& problem = in.problem;
  const int64_t count = options.backgrounds;
  const ClassifierShape& shape = classifier.shape();
  const std::vector<float> z = logits_of_images(classifier, count, [&](float* image, int64_t k) {
    blend_into(image, problem.x, in.mask, random_background(in, shape, options.patch, k));
  });
  const auto top = top_classes(z, shape.classes);
  const auto p = probabilities(z, shape.classes, problem.label);
  const auto n = static_cast<double>(count);
  return {static_cast<double>(std::count(top.begin(), top.end(), problem.label)) / n, std::accumulate(p.begin(), p.end(), 0.0) / n,
          *std::min_element(p.begin(), p.end())};
}

}  // namespace

MetricInfo stability_metric() {
  return {"stability",
          "the class on the hard mask's pixels before random backgrounds",
          kNeedsMask,
          {{"stability", Direction::kUp, "share", "share of the random backgrounds on which the class holds"},
           {"stability_p_mean", Direction::kUp, "probability", "p of the class, mean over the backgrounds"},
           {"stability_p_min", Direction::kUp, "probability", "p of the class on the worst background"}},
          [](JsonReader& reader) -> Measure {
            Options o;
            reader.number("backgrounds", o.backgrounds, 1, 100000);
            reader.number("patch", o.patch, 1, 4096);
            return [o](Classifier& classifier, const MetricInput& in) { return stability(classifier, in, o); };
          }};
}

}  // namespace actmatch
