#include "engine/metrics/metric.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/metrics/list.h"

namespace actmatch {

const char* name_of(Direction direction) {
  switch (direction) {
    case Direction::kUp: return "up";
    case Direction::kDown: return "down";
    case Direction::kNone: break;
  }
  return "none";
}

std::span<const MetricInfo> all_metrics() {
  static const auto list = [] {
    std::vector<MetricInfo> metrics{ACTMATCH_METRICS};
    std::sort(metrics.begin(), metrics.end(), [](const MetricInfo& a, const MetricInfo& b) { return std::string(a.name) < b.name; });
    return metrics;
  }();
  return list;
}

const MetricInfo& find_metric(const std::string& name) {
  std::string list;
  for (const MetricInfo& m : all_metrics()) {
    if (name == m.name) return m;
    list += (list.empty() ? "" : ", ") + std::string(m.name);
  }
  throw Error(ErrorCode::kNotFound, "there is no metric '" + name + "'; choose one of " + list);
}

Measured measure(const MetricInfo& metric, Classifier& classifier, const MetricInput& input, const nlohmann::json& options) {
  const std::string name = metric.name;
  const std::pair<uint32_t, const char*> parts[] = {{kNeedsMap, "a soft map"},
                                                    {kNeedsMask, "a hard mask"},
                                                    {kNeedsObject, "an object's box or outline"},
                                                    {kNeedsSeeds, "masks of other seeds"}};
  for (const auto& [part, what] : parts)
    if (metric.needs & ~input.has & part) throw Error(ErrorCode::kInvalidArgument, "the metric '" + name + "' needs " + what);
  const auto pixels = static_cast<size_t>(input.problem.pixels(classifier.shape()));
  ACTMATCH_CHECK(!(metric.needs & kNeedsMap) || input.soft.size() == pixels, "the soft map has the picture's size");
  ACTMATCH_CHECK(!(metric.needs & kNeedsMask) || input.mask.size() == pixels, "the mask has the picture's size");
  ACTMATCH_CHECK(!(metric.needs & kNeedsObject) || input.object.size() == pixels, "the object has the picture's size");
  JsonReader reader(options, "options of the metric '" + name + "'", "");
  Measured measured;
  measured.values = metric.measure(classifier, input, reader);
  reader.finish();
  measured.options = reader.settled();
  ACTMATCH_CHECK(measured.values.size() == metric.figures.size(), "one number a figure");
  return measured;
}

}  // namespace actmatch
