// Minimality of the hard mask under the problem's criterion, on the baseline background: how many of its tiles, and how many of its
// 8-connected components, could go one at a time. 0 tiles: 1-minimal. NaN where the mask itself does not meet the criterion.
#include <cmath>

#include "engine/explain/feasibility.h"
#include "engine/explain/tile_grid.h"
#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {

namespace {

struct Options {
  int64_t tile = 8;
};

std::vector<double> minimality(Classifier& classifier, const MetricInput& in, const Options& options) {
  const int64_t H = classifier.shape().height, W = classifier.shape().width;
  FeasibilityChecker checker(classifier, in.problem);
  const auto removable = [&](const std::vector<HardMask>& smaller) {
    int64_t count = 0;
    for (const BaselineCheck& check : checker.baseline(smaller)) count += check.sufficient;
    return static_cast<double>(count);
  };
  if (!checker.baseline(std::span(&in.mask, 1)).front().sufficient) return {std::nan(""), std::nan("")};
  std::vector<HardMask> without_tile, without_component;
  const Tiles tiles(H, W, options.tile);
  for (int64_t t : tiles.occupied(in.mask)) {
    without_tile.push_back(in.mask);
    tiles.remove(without_tile.back(), t);
    if (count_pixels(without_tile.back()) == 0) without_tile.pop_back();  // a mask of one tile is minimal by itself
  }
  const Components components = connected_components(in.mask, H, W);
  for (int32_t c = 1; c <= components.count && components.count > 1; ++c) {
    without_component.push_back(in.mask);
    for (size_t i = 0; i < in.mask.size(); ++i)
      if (components.of[i] == c) without_component.back()[i] = 0;
  }
  return {removable(without_tile), removable(without_component)};
}

}  // namespace

MetricInfo minimality_metric() {
  return {"minimality",
          "what of the hard mask could go",
          kNeedsMask,
          {{"removable_tiles", Direction::kDown, "count",
            "tiles of `tile` pixels a side that could go one at a time; finer than the certificate where that was made at larger tiles"},
           {"removable_components", Direction::kDown, "count", "connected components that could go one at a time"}},
          [](JsonReader& reader) -> Measure {
            Options o;
            reader.number("tile", o.tile, 1, 4096);
            return [o](Classifier& classifier, const MetricInput& in) { return minimality(classifier, in, o); };
          }};
}

}  // namespace actmatch
