// Background stability of the hard mask: e = h x + (1 - h) r on K random backgrounds r, in turn of these kinds:
//   N(0, 1) for each pixel and channel; uniform in -1..1; the picture's own square patches in random order (`patch` pixels a side, edge
//   pieces where they do not divide it: they stay); other pictures, where there are some.
// All in network units, drawn from fixed numbers: the same for every method.
#include <algorithm>
#include <numeric>

#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {

namespace {

// The picture with its whole patches in the order of fixed random numbers.
std::vector<float> shuffled(const std::vector<float>& x, const ClassifierShape& shape, int64_t patch, uint32_t draw) {
  const int64_t H = shape.height, W = shape.width, rows = H / patch, columns = W / patch;
  std::vector<int64_t> order(static_cast<size_t>(rows * columns));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[static_cast<size_t>(metric_uniform(3, draw, i) * static_cast<double>(i))]);
  std::vector<float> out = x;
  for (int64_t c = 0; c < shape.channels; ++c)
    for (int64_t t = 0; t < rows * columns; ++t)
      for (int64_t y = 0; y < patch; ++y) {
        const int64_t from = order[static_cast<size_t>(t)];
        std::copy_n(x.data() + (c * H + from / columns * patch + y) * W + from % columns * patch, patch,
                    out.data() + (c * H + t / columns * patch + y) * W + t % columns * patch);
      }
  return out;
}

std::vector<double> stability(Classifier& classifier, const MetricInput& in, JsonReader& options) {
  int64_t count = 32, patch = 16;
  options.number("backgrounds", count, 1, 100000);
  options.number("patch", patch, 1, 4096);
  const Problem& problem = in.problem;
  const ClassifierShape& shape = classifier.shape();
  patch = std::min({patch, shape.height, shape.width});
  const int64_t kinds = in.others.empty() ? 3 : 4;
  std::vector<float> background(problem.x.size());
  const std::vector<float> z = logits_of_images(classifier, count, [&](float* image, int64_t k) {
    const auto draw = static_cast<uint32_t>(k);
    switch (k % kinds) {
      case 0:
        for (size_t i = 0; i < background.size(); ++i) background[i] = static_cast<float>(metric_normal(1, draw, i));
        break;
      case 1:
        for (size_t i = 0; i < background.size(); ++i) background[i] = static_cast<float>(2 * metric_uniform(2, draw, i) - 1);
        break;
      case 2: background = shuffled(problem.x, shape, patch, draw); break;
      default: background = in.others[static_cast<size_t>(k / kinds) % in.others.size()]; break;
    }
    blend_into(image, problem.x, in.mask, background);
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
          stability};
}

}  // namespace actmatch
