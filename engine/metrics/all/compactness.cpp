// Compactness of the hard mask: its 8-connected components, and perimeter^2 / area (4 pi for a disc with an exact outline, 16 for a
// square). The perimeter counts the sides of pixels between mask and rest, the picture's border included.
#include <cmath>

#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {

MetricInfo compactness_metric() {
  return {"compactness",
          "shape of the hard mask",
          kNeedsMask,
          {{"components", Direction::kDown, "count", "8-connected components of the mask"},
           {"perimeter2_per_area", Direction::kDown, "ratio", "perimeter^2 / area of the mask, in pixels"}},
          [](JsonReader&) -> Measure {
            return [](Classifier& classifier, const MetricInput& in) -> std::vector<double> {
              const int64_t H = classifier.shape().height, W = classifier.shape().width;
              const auto set = [&](int64_t y, int64_t x) {
                return y >= 0 && y < H && x >= 0 && x < W && in.mask[static_cast<size_t>(y * W + x)];
              };
              int64_t perimeter = 0, area = 0;
              for (int64_t y = 0; y < H; ++y)
                for (int64_t x = 0; x < W; ++x) {
                  if (!set(y, x)) continue;
                  ++area;
                  perimeter += !set(y - 1, x) + !set(y + 1, x) + !set(y, x - 1) + !set(y, x + 1);
                }
              const auto components = static_cast<double>(connected_components(in.mask, H, W).count);
              if (area == 0) return {components, std::nan("")};
              return {components, static_cast<double>(perimeter * perimeter) / static_cast<double>(area)};
            };
          }};
}

}  // namespace actmatch
