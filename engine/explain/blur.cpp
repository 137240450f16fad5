#include "engine/explain/blur.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace actmatch {

std::vector<float> gaussian_blur(const std::vector<float>& image, const ClassifierShape& shape, double sigma, int64_t radius,
                                 bool replicate) {
  const int64_t H = shape.height, W = shape.width, planes = static_cast<int64_t>(image.size()) / (H * W);
  std::vector<double> taps;
  double sum = 0;
  for (int64_t d = -radius; d <= radius; ++d) {
    taps.push_back(std::exp(-0.5 * static_cast<double>(d * d) / (sigma * sigma)));
    sum += taps.back();
  }
  for (double& t : taps) t /= sum;
  std::vector<double> scratch(image.size());
  std::vector<float> out(image.size());
  // Along one direction: `extent` numbers that lie `stride` apart.
  const auto along = [&](auto* to, const auto* from, int64_t extent, int64_t stride) {
    for (int64_t i = 0; i < extent; ++i) {
      double total = 0;
      for (int64_t d = -radius; d <= radius; ++d) {
        int64_t j = i + d;
        if (j < 0 || j >= extent) {
          if (!replicate) continue;
          j = std::clamp<int64_t>(j, 0, extent - 1);
        }
        total += taps[static_cast<size_t>(d + radius)] * static_cast<double>(from[j * stride]);
      }
      to[i * stride] = static_cast<std::remove_reference_t<decltype(*to)>>(total);
    }
  };
  for (int64_t p = 0; p < planes; ++p)
    for (int64_t x = 0; x < W; ++x) along(scratch.data() + p * H * W + x, image.data() + p * H * W + x, H, W);
  for (int64_t p = 0; p < planes; ++p)
    for (int64_t y = 0; y < H; ++y) along(out.data() + (p * H + y) * W, scratch.data() + (p * H + y) * W, W, int64_t{1});
  return out;
}

}  // namespace actmatch
