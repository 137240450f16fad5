// The class on the softly masked picture e = m x + (1 - m) b, against the picture:
//   average drop  max(0, p(x) - p(e)) / p(x)      (Chattopadhyay et al. 2018)
//   increase      1[p(e) > p(x)]
//   average gain  max(0, p(e) - p(x)) / (1 - p(x))   (Zhang et al. 2024); 0 where p(x) = 1
#include <algorithm>

#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {

MetricInfo average_drop_metric() {
  return {"average-drop",
          "the class on the picture under the soft map",
          kNeedsMap,
          {{"average_drop", Direction::kDown, "share", "max(0, p(x) - p(e)) / p(x)"},
           {"increase", Direction::kUp, "share", "1 where p(e) > p(x)"},
           {"average_gain", Direction::kUp, "share", "max(0, p(e) - p(x)) / (1 - p(x))"}},
          [](JsonReader& options) -> Measure {
            Fill fill = Fill::kMean;
            options.choice("baseline", fill, kFills);
            return [=](Classifier& classifier, const MetricInput& in) -> std::vector<double> {
              const Problem& problem = in.problem;
              const int64_t classes = classifier.shape().classes;
              const std::vector<float> z = logits_of_images(classifier, 1, [&](float* image, int64_t) {
                blend_into(image, problem.x, in.soft, fill_image(classifier.shape(), problem, fill));
              });
              const double x = probabilities(problem.logits_x, classes, problem.label)[0], e = probabilities(z, classes, problem.label)[0];
              return {std::max(0.0, x - e) / x, e > x ? 1.0 : 0.0, x < 1 ? std::max(0.0, e - x) / (1 - x) : 0.0};
            };
          }};
}

}  // namespace actmatch
