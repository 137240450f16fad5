#include "engine/metrics/metric.h"

#include <algorithm>
#include <sstream>

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

nlohmann::json default_options(const MetricInfo& metric) {
  const auto none = nlohmann::json::object();
  JsonReader reader(none, metric.name, "");
  metric.with(reader);
  return reader.settled();
}

std::string text_of_options(const nlohmann::ordered_json& options) {
  const auto plain = [](const nlohmann::ordered_json& value) {
    if (value.is_string()) return value.get<std::string>();
    std::ostringstream number;  // 5 for 5.0
    number << value.get<double>();
    return number.str();
  };
  std::string text;
  for (const auto& [key, value] : options.items()) {
    text += (text.empty() ? "" : ", ") + key;
    if (!value.is_array()) text += " " + plain(value);
    for (size_t i = 0; value.is_array() && i < value.size(); ++i) text += " " + plain(value[i]);
  }
  return text;
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
  const Measure measure = metric.with(reader);
  reader.finish();
  measured.values = measure(classifier, input);
  measured.options = reader.settled();
  ACTMATCH_CHECK(measured.values.size() == metric.figures.size(), "one number a figure");
  return measured;
}

}  // namespace actmatch
