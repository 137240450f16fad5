#include "engine/explain/smooth.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace actmatch {

namespace {

// Weights at distance 0, 1, ...; empty: no smoothing.
std::vector<float> gaussian(double sigma) {
  if (!(sigma >= 0.2)) return {};
  const auto radius = static_cast<int64_t>(3 * sigma + 0.5);
  const auto at = [&](int64_t i) { return std::exp(-0.5 * static_cast<double>(i * i) / (sigma * sigma)); };
  double sum = 0;
  for (int64_t i = -radius; i <= radius; ++i) sum += at(i);
  std::vector<float> taps;
  for (int64_t i = 0; i <= radius; ++i) taps.push_back(static_cast<float>(at(i) / sum));
  return taps;
}

}  // namespace

SmoothingTable::SmoothingTable(Backend& backend, std::span<const double> sigmas) {
  std::vector<std::vector<float>> rows;
  std::vector<int32_t> radius;
  for (double sigma : sigmas) {
    rows.push_back(gaussian(sigma));
    radius.push_back(static_cast<int32_t>(rows.back().size()) - 1);
    stride_ = std::max(stride_, static_cast<int64_t>(rows.back().size()));
  }
  idle_ = stride_ == 0;
  if (idle_) return;
  std::vector<float> taps(rows.size() * static_cast<size_t>(stride_), 0.0f);
  for (size_t i = 0; i < rows.size(); ++i)
    std::copy(rows[i].begin(), rows[i].end(), taps.begin() + static_cast<std::ptrdiff_t>(i) * stride_);
  taps_ = DeviceBuffer(backend, taps);
  radius_ = DeviceArray<int32_t>(backend, std::span<const int32_t>(radius));
}

}  // namespace actmatch
