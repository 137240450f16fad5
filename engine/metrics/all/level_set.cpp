// How small a part of the picture the map's ranking needs. Of `levels` level sets, the pixels of the map's first a_i H W (rounded, at least
// one), a_i = least^(1 - i / levels) for i = 1 .. levels, the last one being the whole picture: the smallest that is
//   sufficient: on the mean colour the class holds with p >= tau p(x);
//   robust: and it holds on at least rho of K random backgrounds (random_background(), engine/metrics/images.h).
// The whole picture is both, so there is always one. Areas before pruning: unlike those after it they tell maps apart.
#include <algorithm>
#include <cmath>

#include "engine/explain/feasibility.h"
#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {

namespace {

struct Options {
  int64_t levels = 24, backgrounds = 32, patch = 16;
  double least = 0.005, tau = 0.9, rho = 0.9;
};

std::vector<double> level_set_area(Classifier& classifier, const MetricInput& in, const Options& options) {
  const Problem& problem = in.problem;
  const int64_t count = options.backgrounds;
  const ClassifierShape& shape = classifier.shape();
  const std::vector<int64_t> order = ranking(in.soft);
  std::vector<double> areas;
  std::vector<HardMask> masks;
  for (int64_t i = 1; i <= options.levels; ++i) {
    const double wanted = std::pow(options.least, 1 - static_cast<double>(i) / static_cast<double>(options.levels));
    const auto pixels = std::max<int64_t>(1, std::llround(wanted * static_cast<double>(order.size())));
    HardMask mask(order.size(), 0);
    for (int64_t k = 0; k < pixels; ++k) mask[static_cast<size_t>(order[static_cast<size_t>(k)])] = 1;
    areas.push_back(static_cast<double>(pixels) / static_cast<double>(order.size()));
    masks.push_back(std::move(mask));
  }
  const std::vector<float> colour = fill_image(shape, problem, Fill::kMean);
  const std::vector<float> z = logits_of_images(
      classifier, options.levels, [&](float* image, int64_t i) { blend_into(image, problem.x, masks[static_cast<size_t>(i)], colour); });
  const auto top = top_classes(z, shape.classes);
  const auto p = probabilities(z, shape.classes, problem.label);
  const double threshold =
      options.tau * probabilities(problem.logits_x, shape.classes, problem.label)[0] * (1 - 1e-6);  // the picture's own p rounds

  const int64_t may_fail = count - needed_backgrounds(options.rho, count);
  std::vector<std::vector<float>> backgrounds;  // made as they are needed
  const auto robust = [&](const HardMask& mask) {
    constexpr int64_t kAtOnce = 4;
    int64_t failed = 0;
    for (int64_t first = 0; first < count && failed <= may_fail; first += kAtOnce) {
      const int64_t n = std::min(kAtOnce, count - first);
      while (static_cast<int64_t>(backgrounds.size()) < first + n)
        backgrounds.push_back(random_background(in, shape, options.patch, static_cast<int64_t>(backgrounds.size())));
      for (int32_t t : top_classes(logits_of_images(classifier, n,
                                                    [&](float*image, int64_t k) {
                                                      blend_into(image, problem.x, mask, backgrounds[static_cast<size_t>(first + k)]);
                                                    }),
                                   shape.classes))
        failed += t != problem.label;
    }
    return failed <= may_fail;
  };
  double sufficient_area = 1, robust_area = 1;
  bool found = false;
  for (size_t i = 0; i < masks.size(); ++i) {
    if (top[i] != problem.label || p[i] < threshold) continue;
    if (!found) sufficient_area = areas[i];
    found = true;
    if (!robust(masks[i])) continue;
    robust_area = areas[i];
    break;
  }
  return {sufficient_area, robust_area};
}

}  // namespace

MetricInfo level_set_metric() {
  return {
      "level-set",
      "how small a part of the picture, taken in the map's order, keeps the class",
      kNeedsMap,
      {{"sufficient_area", Direction::kDown, "share", "smallest level set on which the class holds with p >= tau p(x), on the mean colour"},
       {"robust_area", Direction::kDown, "share", "smallest that also holds on rho of the random backgrounds"}},
      [](JsonReader& reader) -> Measure {
        Options o;
        reader.number("levels", o.levels, 1, 100000);
        reader.number("least", o.least, 1e-9, 1);
        reader.number("tau", o.tau, 0, 1);
        reader.number("rho", o.rho, 0, 1);
        reader.number("backgrounds", o.backgrounds, 1, 100000);
        reader.number("patch", o.patch, 1, 4096);
        return [o](Classifier& classifier, const MetricInput& in) { return level_set_area(classifier, in, o); };
      }};
}

}  // namespace actmatch
