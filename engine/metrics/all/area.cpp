// Area: mean of the hard mask. A small mask says little by itself: read it beside fidelity and stability.
#include "engine/metrics/metric.h"

namespace actmatch {

MetricInfo area_metric() {
  return {"area",
          "share of the pixels in the hard mask",
          kNeedsMask,
          {{"area", Direction::kDown, "share", "mean of the hard mask"}},
          [](JsonReader&) -> Measure {
            return [](Classifier&, const MetricInput& in) -> std::vector<double> {
              return {static_cast<double>(count_pixels(in.mask)) / static_cast<double>(in.mask.size())};
            };
          }};
}

}  // namespace actmatch
