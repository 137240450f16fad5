// Necessity of the hard mask: c = (1 - h) x + h b, the picture without its evidence. Is the class lost, and how much of p_y?
#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {

MetricInfo necessity_metric() {
  return {"necessity",
          "the class without the hard mask's pixels",
          kNeedsMask,
          {{"necessity", Direction::kUp, "share", "1 where the class is lost"},
           {"necessity_drop", Direction::kUp, "probability", "p(x) - p(c) of the class"}},
          [](JsonReader& options) -> Measure {
            Fill fill = Fill::kMean;
            options.choice("baseline", fill, kFills);
            return [=](Classifier& classifier, const MetricInput& in) -> std::vector<double> {
              const Problem& problem = in.problem;
              const int64_t classes = classifier.shape().classes;
              const std::vector<float> z = logits_of_images(classifier, 1, [&](float* image, int64_t) {
                blend_into(image, problem.x, in.mask, fill_image(classifier.shape(), problem, fill), true);
              });
              const double p_x = probabilities(problem.logits_x, classes, problem.label)[0];
              return {argmax(z) != problem.label ? 1.0 : 0.0, p_x - probabilities(z, classes, problem.label)[0]};
            };
          }};
}

}  // namespace actmatch
