// Deletion and insertion (RISE, Petsiuk et al. 2018). The pixels go in the order of the map, `steps` times the same number of them
// (ceil(HW / steps): 224 at 224 x 224); after each step p_y. Deletion starts from the picture and puts "deletion_baseline" in their place;
// insertion starts from the picture under a Gaussian of 11 x 11 taps, sigma 5 (0 in network units outside), and puts the picture's pixels
// back. AUC = (sum p - p_first / 2 - p_last / 2) / (number of p - 1), the trapezoidal rule over 0..1.
#include "engine/explain/blur.h"
#include "engine/metrics/curves.h"
#include "engine/metrics/metric.h"

namespace actmatch {

MetricInfo deletion_insertion_metric() {
  return {"deletion-insertion",
          "p of the class while pixels go or come in the map's order",
          kNeedsMap,
          {{"deletion_auc", Direction::kDown, "probability", "area under p while the most important pixels go"},
           {"insertion_auc", Direction::kUp, "probability", "area under p while the most important pixels come"}},
          [](JsonReader& options) -> Measure {
            int64_t steps = 224, radius = 5;
            double sigma = 5;
            Fill fill = Fill::kZero;
            options.number("steps", steps, 1, 1000000);
            options.number("blur_sigma", sigma, 1e-3, 1000);
            options.number("blur_radius", radius, 0, 1000);
            options.choice("deletion_baseline", fill, kFills);
            return [=](Classifier& classifier, const MetricInput& in) -> std::vector<double> {
              const Problem& problem = in.problem;
              const std::vector<int64_t> order = ranking(in.soft);
              const std::vector<float> blurred = gaussian_blur(problem.x, classifier.shape(), sigma, radius, false);
              const std::vector<double> deletion =
                  replacement_curve(classifier, problem, order, problem.x, fill_image(classifier.shape(), problem, fill), steps);
              const std::vector<double> insertion = replacement_curve(classifier, problem, order, blurred, problem.x, steps);
              if (in.curves) (*in.curves)["deletion"] = deletion, (*in.curves)["insertion"] = insertion;
              return {curve_area(deletion), curve_area(insertion)};
            };
          }};
}

}  // namespace actmatch
