// Seed agreement: the mean over all pairs of the masks' intersection over union, of one method and picture under several seeds.
#include <cmath>

#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {

MetricInfo seed_agreement_metric() {
  return {"seed-agreement",
          "hard masks under several seeds",
          kNeedsMask | kNeedsSeeds,
          {{"seed_iou", Direction::kUp, "share", "mean pairwise intersection over union"}},
          [](JsonReader&) -> Measure {
            return [](Classifier&, const MetricInput& in) -> std::vector<double> {
              std::vector<const HardMask*> masks{&in.mask};
              for (const HardMask& mask : in.seeds) masks.push_back(&mask);
              double sum = 0;
              int64_t pairs = 0;
              for (size_t i = 0; i < masks.size(); ++i)
                for (size_t j = i + 1; j < masks.size(); ++j, ++pairs) sum += iou(*masks[i], *masks[j]);
              return {pairs > 0 ? sum / static_cast<double>(pairs) : std::nan("")};
            };
          }};
}

}  // namespace actmatch
