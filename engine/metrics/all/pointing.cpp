// The map against the object's box or outline: pointing game (Zhang et al. 2018), the map's largest value lies on the object or within
// `tolerance` pixels of it; energy (Wang et al. 2020), the share of the map's sum on the object. Of equal maxima the first counts.
#include <algorithm>
#include <cmath>

#include "engine/metrics/metric.h"

namespace actmatch {

MetricInfo pointing_metric() {
  return {"pointing",
          "the soft map against the object",
          kNeedsMap | kNeedsObject,
          {{"pointing", Direction::kUp, "share", "1 where the map's maximum lies within `tolerance` pixels of the object"},
           {"energy", Direction::kUp, "share", "share of the map's sum on the object"}},
          [](JsonReader& options) -> Measure {
            double tolerance = 15;
            options.number("tolerance", tolerance, 0, 10000);
            return [=](Classifier& classifier, const MetricInput& in) -> std::vector<double> {
              const int64_t W = classifier.shape().width;
              const int64_t at = std::max_element(in.soft.begin(), in.soft.end()) - in.soft.begin();
              double on = 0, all = 0;
              bool hit = false;
              for (size_t i = 0; i < in.soft.size(); ++i) {
                all += in.soft[i];
                if (!in.object[i]) continue;
                on += in.soft[i];
                const auto place = static_cast<int64_t>(i);
                const int64_t dy = place / W - at / W, dx = place % W - at % W;
                hit = hit || static_cast<double>(dy * dy + dx * dx) <= tolerance * tolerance;
              }
              return {hit ? 1.0 : 0.0, all > 0 ? on / all : std::nan("")};
            };
          }};
}

}  // namespace actmatch
