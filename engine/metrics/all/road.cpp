// ROAD, combined (Rong et al. 2022): pixels are removed most relevant first (MoRF) and least relevant first (LeRF), `percentiles` % of
// them; what is removed is filled in so that it says nothing: each removed pixel is the weighted mean of those of its 8 neighbours that lie
// in the picture (direct 1/6, diagonal 1/12; a system of equations, solved to 1e-9), and sigma N(0, noise^2) on top, sigma the deviation of
// photos' pixels (kernels/random_background.h): N(0, noise^2) where the network's input is normalised by it.
//   road = mean over the percentiles of (p_LeRF - p_MoRF) / 2
#include <cmath>

#include "engine/metrics/images.h"
#include "engine/metrics/impute.h"
#include "engine/metrics/metric.h"

namespace actmatch {

namespace {

struct Options {
  std::vector<double> percentiles{10, 20, 30, 40, 50, 60, 70, 80, 90};
  double noise = 0.01;  // share of the deviation of photos
};

std::vector<double> road(Classifier& classifier, const MetricInput& in, const Options& options) {
  const Problem& problem = in.problem;
  const ClassifierShape& shape = classifier.shape();
  const std::vector<int64_t> order = ranking(in.soft);
  const auto pixels = order.size(), sets = options.percentiles.size();
  const auto spread = [&](size_t channel) { return problem.backgrounds.sigma[channel] * problem.backgrounds.scale[channel]; };
  const std::vector<float> z = logits_of_images(classifier, static_cast<int64_t>(2 * sets), [&](float* image, int64_t number) {
    const auto n = static_cast<size_t>(number);
    const auto count = static_cast<size_t>(std::llround(options.percentiles[n % sets] / 100 * static_cast<double>(pixels)));
    HardMask removed(pixels, 0);
    for (size_t i = 0; i < count; ++i) removed[static_cast<size_t>(n < sets ? order[i] : order[pixels - 1 - i])] = 1;
    const std::vector<float> filled = impute(problem.x, removed, shape.height, shape.width);
    const std::vector<double> normals = metric_normals(5, static_cast<uint32_t>(n), filled.size());
    for (size_t i = 0; i < filled.size(); ++i)
      image[i] = removed[i % pixels] ? static_cast<float>(filled[i] + options.noise * spread(i / pixels) * normals[i]) : filled[i];
  });
  const std::vector<double> p = probabilities(z, shape.classes, problem.label);
  double sum = 0;
  for (size_t i = 0; i < sets; ++i) sum += 0.5 * (p[sets + i] - p[i]);
  return {sum / static_cast<double>(sets)};
}

}  // namespace

MetricInfo road_metric() {
  return {"road",
          "p of the class while pixels are filled in from their neighbours",
          kNeedsMap,
          {{"road", Direction::kUp, "probability", "half of p without the least relevant pixels less p without the most relevant ones"}},
          [](JsonReader& reader) -> Measure {
            Options o;
            reader.numbers("percentiles", o.percentiles, 0, 99.9);
            reader.number("noise", o.noise, 0, 1000);
            return [o](Classifier& classifier, const MetricInput& in) { return road(classifier, in, o); };
          }};
}

}  // namespace actmatch
