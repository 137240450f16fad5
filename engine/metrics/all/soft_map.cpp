// The soft map alone: mean m, and binariness, mean 4 m (1 - m): 0 for a map of zeros and ones, 1 for one of halves.
#include "engine/metrics/metric.h"

namespace actmatch {

MetricInfo soft_map_metric() {
  return {"soft-map",
          "the soft map alone",
          kNeedsMap,
          {{"soft_area", Direction::kDown, "share", "mean of the soft map"},
           {"binariness", Direction::kDown, "share", "mean 4 m (1 - m) of the soft map"}},
          [](JsonReader&) -> Measure {
            return [](Classifier&, const MetricInput& in) -> std::vector<double> {
              double area = 0, grey = 0;
              for (float m : in.soft) {
                area += m;
                grey += 4.0 * m * (1.0 - m);
              }
              const auto n = static_cast<double>(in.soft.size());
              return {area / n, grey / n};
            };
          }};
}

}  // namespace actmatch
