// MuFidelity (Bhatt, Weller, Moura 2020): the picture is cut into `grid` x `grid` cells; `subsets` times each cell goes to the baseline
// with probability `share`. Spearman's rank correlation between p(x) - p(without the subset) and the sum of the map over the subset; equal
// values share their mean rank. NaN where either is constant. Cell of pixel (y, x): (floor(y grid / H), floor(x grid / W)).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {

namespace {

std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> rank(values.size());
  for (size_t i = 0; i < order.size();) {
    size_t end = i;
    while (end < order.size() && values[order[end]] == values[order[i]]) ++end;
    for (size_t k = i; k < end; ++k) rank[order[k]] = 0.5 * static_cast<double>(i + end - 1);
    i = end;
  }
  return rank;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  const double ma = std::accumulate(a.begin(), a.end(), 0.0) / n, mb = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) * (a[i] - ma);
    bb += (b[i] - mb) * (b[i] - mb);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : std::nan("");
}

struct Options {
  int64_t grid = 9, subsets = 200;
  double share = 0.2;
  Fill baseline = Fill::kMean;
};

std::vector<double> mufidelity(Classifier& classifier, const MetricInput& in, const Options& options) {
  const Problem& problem = in.problem;
  const ClassifierShape& shape = classifier.shape();
  const int64_t H = shape.height, W = shape.width, grid = options.grid;
  const std::vector<float> baseline = fill_image(shape, problem, options.baseline);
  std::vector<int64_t> cell_of;
  for (int64_t i = 0; i < H * W; ++i) cell_of.push_back(i / W * grid / H * grid + i % W * grid / W);
  std::vector<double> sums;
  HardMask removed(in.soft.size());
  const std::vector<float> z = logits_of_images(classifier, options.subsets, [&](float* image, int64_t s) {
    double sum = 0;
    const std::vector<double> uniforms = metric_uniforms(4, static_cast<uint32_t>(s), static_cast<size_t>(grid * grid));
    for (size_t i = 0; i < removed.size(); ++i) {
      const bool gone = uniforms[static_cast<size_t>(cell_of[i])] < options.share;
      removed[i] = gone;
      if (gone) sum += in.soft[i];
    }
    sums.push_back(sum);
    blend_into(image, problem.x, removed, baseline, true);
  });
  const double p_x = probabilities(problem.logits_x, shape.classes, problem.label)[0];
  std::vector<double> drops;
  for (double p : probabilities(z, shape.classes, problem.label)) drops.push_back(p_x - p);
  return {correlation(ranks(drops), ranks(sums))};
}

}  // namespace

MetricInfo mufidelity_metric() {
  return {"mufidelity",
          "does what the map gives a region say what p loses without it",
          kNeedsMap,
          {{"mufidelity", Direction::kUp, "correlation", "Spearman's, between the drop of p and the map's sum over what is removed"}},
          [](JsonReader& reader) -> Measure {
            Options o;
            reader.number("grid", o.grid, 1, 1024);
            reader.number("subsets", o.subsets, 2, 1000000);
            reader.number("share", o.share, 0, 1);
            reader.choice("baseline", o.baseline, kFills);
            return [o](Classifier& classifier, const MetricInput& in) { return mufidelity(classifier, in, o); };
          }};
}

}  // namespace actmatch
