// Intersection over union of the hard mask with the object's box or outline.
#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {

MetricInfo object_iou_metric() {
  return {"object-iou",
          "the hard mask against the object",
          kNeedsMask | kNeedsObject,
          {{"iou", Direction::kUp, "share", "intersection over union with the object"}},
          [](JsonReader&) -> Measure {
            return [](Classifier&, const MetricInput& in) -> std::vector<double> { return {iou(in.mask, in.object)}; };
          }};
}

}  // namespace actmatch
