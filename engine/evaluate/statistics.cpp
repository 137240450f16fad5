#include "engine/evaluate/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/philox.h"

namespace actmatch {

double quantile_of(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = place - static_cast<double>(below);
  return sorted[below] + part * (sorted[above] - sorted[below]);
}

Statistics statistics_of(const std::vector<double>& values) {
  constexpr int kSamples = 2000;
  constexpr uint32_t kKey = 0x626f6f74;  // "boot"
  Statistics s;
  s.count = static_cast<int64_t>(values.size());
  if (values.empty()) return s;
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const auto n = static_cast<double>(sorted.size());
  s.mean = std::accumulate(sorted.begin(), sorted.end(), 0.0) / n;
  s.median = quantile_of(sorted, 0.5);
  s.low = s.high = s.mean;
  if (sorted.size() < 2) return s;
  std::vector<double> means;
  for (uint32_t sample = 0; sample < kSamples; ++sample) {
    double sum = 0;
    for (size_t i = 0; i < sorted.size(); i += 4) {
      const kernels::PhiloxWords words = kernels::philox4x32_10({{static_cast<uint32_t>(i / 4), sample, 0, 0}}, kKey, 0);
      for (size_t k = 0; k < std::min<size_t>(4, sorted.size() - i); ++k)
        sum += sorted[static_cast<size_t>(kernels::uniform_of(words.word[k]) * n)];  // uniform_of is below 1
    }
    means.push_back(sum / n);
  }
  std::sort(means.begin(), means.end());
  s.low = quantile_of(means, 0.025);
  s.high = quantile_of(means, 0.975);
  return s;
}

}  // namespace actmatch
