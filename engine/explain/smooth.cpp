#include "engine/explain/smooth.h"

#include <algorithm>
#include <cmath>

namespace actmatch {

namespace {

std::vector<float> gaussian(double sigma) {
  const auto radius = static_cast<int64_t>(3 * sigma + 0.5);
  std::vector<float> taps;
  double sum = 0;
  for (int64_t i = -radius; i <= radius; ++i) sum += std::exp(-0.5 * static_cast<double>(i * i) / (sigma * sigma));
  for (int64_t i = -radius; i <= radius; ++i)
    taps.push_back(static_cast<float>(std::exp(-0.5 * static_cast<double>(i * i) / (sigma * sigma)) / sum));
  return taps;
}

}  // namespace

void GradientSmoother::apply(float* map, double sigma) {
  if (sigma < 0.2) return;  // narrower than a pixel
  const auto taps = gaussian(sigma);
  const auto radius = static_cast<int64_t>(taps.size() / 2);
  std::fill(rows_.begin(), rows_.end(), 0.0f);
  for (int64_t y = 0; y < H_; ++y)  // columns first: whole rows are added, which vectorises
    for (int64_t d = -radius; d <= radius; ++d) {
      if (y + d < 0 || y + d >= H_) continue;
      const float t = taps[static_cast<size_t>(d + radius)];
      const float* from = map + (y + d) * W_;
      float* to = rows_.data() + y * W_;
      for (int64_t x = 0; x < W_; ++x) to[x] += t * from[x];
    }
  for (int64_t y = 0; y < H_; ++y) {
    const float* from = rows_.data() + y * W_;
    float* to = map + y * W_;
    std::fill_n(to, W_, 0.0f);
    for (int64_t d = -radius; d <= radius; ++d) {
      const float t = taps[static_cast<size_t>(d + radius)];
      const int64_t first = std::max<int64_t>(0, -d), last = std::min(W_, W_ - d);
      for (int64_t x = first; x < last; ++x) to[x] += t * from[x + d];
    }
  }
}

}  // namespace actmatch
