#include "engine/metrics/curves.h"

#include <algorithm>
#include <numeric>

namespace actmatch {

std::vector<double> replacement_curve(Classifier& classifier, const Problem& problem, const std::vector<int64_t>& order,
                                      const std::vector<float>& from, const std::vector<float>& to, int64_t steps) {
  const auto pixels = static_cast<int64_t>(order.size());
  const int64_t each = (pixels + steps - 1) / steps, images = (pixels + each - 1) / each + 1;
  std::vector<float> current = from;
  int64_t done = 0;
  const std::vector<float> z = logits_of_images(classifier, images, [&](float* image, int64_t number) {
    for (const int64_t end = std::min(number * each, pixels); done < end; ++done)
      for (size_t i = static_cast<size_t>(order[static_cast<size_t>(done)]); i < current.size(); i += static_cast<size_t>(pixels))
        current[i] = to[i];
    std::copy(current.begin(), current.end(), image);
  });
  return probabilities(z, classifier.shape().classes, problem.label);
}

double curve_area(const std::vector<double>& curve) {
  if (curve.size() < 2) return curve.empty() ? 0.0 : curve[0];
  const double sum = std::accumulate(curve.begin(), curve.end(), 0.0);
  return (sum - 0.5 * (curve.front() + curve.back())) / static_cast<double>(curve.size() - 1);
}

}  // namespace actmatch
