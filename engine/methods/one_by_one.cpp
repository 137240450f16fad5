#include "engine/methods/one_by_one.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"

namespace actmatch {

using Clock = std::chrono::steady_clock;

void Steps::operator()(int64_t step, int64_t steps, const std::vector<TermTrace>* losses) const {
  if (!progress_) return;
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double left = step > 0 ? seconds / static_cast<double>(step) * static_cast<double>(steps - step) : 0;
  if (!progress_({step, steps, 0, losses, seconds, left, picture_})) throw Error(ErrorCode::kCancelled, "stopped");
}

std::vector<SoftMap> OneByOne::run(std::span<const Problem> problems, uint64_t seed, const ProgressCallback& progress) {
  std::vector<SoftMap> maps;
  for (size_t i = 0; i < problems.size(); ++i) {
    const auto start = Clock::now();
    const int64_t forward = classifier_.images_run(), backward = classifier_.gradients_run();
    SoftMap found = map(problems[i], seed, Steps(progress, static_cast<int64_t>(i)));
    if (!std::all_of(found.logits.begin(), found.logits.end(), [](float v) { return std::isfinite(v); }))
      found.failure = "the map has NaN or infinite values; check the model and the method's options";
    if (found.soft.empty()) found.soft = stretched(found.logits);
    found.forward = classifier_.images_run() - forward;
    found.backward = classifier_.gradients_run() - backward;
    found.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    maps.push_back(std::move(found));
  }
  return maps;
}

std::vector<float> stretched(const std::vector<float>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  std::vector<float> out(values.size(), 0.0f);
  const double range = static_cast<double>(*high) - *low;
  for (size_t i = 0; i < out.size() && range > 0; ++i) out[i] = static_cast<float>((static_cast<double>(values[i]) - *low) / range);
  return out;
}

}  // namespace actmatch
