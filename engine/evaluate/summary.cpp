#include "engine/evaluate/summary.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <set>

#include "engine/image/decode.h"
#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {
namespace {

using Json = nlohmann::ordered_json;

struct Picture {
  std::string image, class_name;
  auto operator<=>(const Picture&) const = default;
};

// What the seeds of one picture, method and variant found.
struct Group {
  std::map<std::string, std::vector<double>> metrics;
  std::map<std::string, std::vector<std::vector<double>>> curves;
  std::vector<double> seconds;
  std::vector<std::string> masks;
  std::string overlay;
};

std::vector<uint8_t> read_mask(const std::string& path) {
  const Image image = read_image(path);
  std::vector<uint8_t> mask;
  for (size_t i = 0; i < image.rgb.size(); i += 3) mask.push_back(image.rgb[i] >= 128);
  return mask;
}

// An object inside the record; an empty one where there is none.
const Json& object_at(const Json& record, const char* key) {
  static const Json empty = Json::object();
  const auto it = record.find(key);
  return it != record.end() && it->is_object() ? *it : empty;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

void add_curves(std::map<std::string, std::vector<std::vector<double>>>& to, const std::string& name, const std::vector<double>& curve) {
  auto& curves = to[name];
  if (curves.empty() || curves[0].size() == curve.size())
    curves.push_back(curve);  // of models of other sizes: not comparable point by point
}

std::vector<double> mean_curve(const std::vector<std::vector<double>>& curves) {
  std::vector<double> mean(curves[0].size());
  for (const auto& curve : curves)
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += curve[i] / static_cast<double>(curves.size());
  return mean;
}

void take(Group& group, const Json& record, const std::string& folder) {
  for (const auto& [name, value] : object_at(record, "metrics").items())
    if (value.is_number() && std::isfinite(value.get<double>())) group.metrics[name].push_back(value.get<double>());
  for (const auto& [name, values] : object_at(record, "curves").items())
    if (values.is_array() && !values.empty() && std::all_of(values.begin(), values.end(), [](const Json& v) { return v.is_number(); }))
      add_curves(group.curves, name, values.get<std::vector<double>>());
  if (record.contains("seconds")) group.seconds.push_back(record["seconds"].get<double>());
  const auto file = [&](const char* key) { return (std::filesystem::path(folder) / record[key].get<std::string>()).string(); };
  if (record.contains("overlay") && group.overlay.empty()) group.overlay = file("overlay");
  if (record.contains("mask")) group.masks.push_back(file("mask"));
}

void add_agreement(Group& group) {
  if (group.masks.size() < 2) return;
  std::vector<std::vector<uint8_t>> masks;
  for (const std::string& path : group.masks) masks.push_back(read_mask(path));
  std::vector<double> pairs;
  for (size_t i = 0; i < masks.size(); ++i)
    for (size_t j = i + 1; j < masks.size(); ++j) pairs.push_back(iou(masks[i], masks[j]));
  const double mean = mean_of(pairs);
  if (std::isfinite(mean)) group.metrics[find_metric("seed-agreement").figures[0].name] = {mean};
}

}  // namespace

Summary summarise(const std::vector<std::string>& folders) {
  struct Row {
    std::map<Picture, Group> groups;
    int64_t failed = 0;
  };
  struct Latest {
    Json record;
    std::string folder;
  };
  std::vector<RecordKey> order;
  std::map<RecordKey, Latest> latest;
  Summary summary;
  for (const std::string& folder : folders) {
    RunRecords run = read_run(folder);
    const Json metrics = run.settings.value("metrics", Json::array());
    for (const Json& metric : metrics) {
      const MetricColumn column{metric.value("name", ""), metric.value("unit", ""), metric.value("about", ""),
                                metric.value("direction", 0)};
      if (std::none_of(summary.columns.begin(), summary.columns.end(), [&](const MetricColumn& c) { return c.name == column.name; }))
        summary.columns.push_back(column);
    }
    for (Json& record : run.records) {
      const RecordKey key = key_of(record);
      if (latest.insert_or_assign(key, Latest{std::move(record), folder}).second) order.push_back(key);
    }
  }
  std::vector<std::pair<std::string, std::string>> names;
  std::map<std::pair<std::string, std::string>, Row> rows;
  std::set<std::string> pictures;
  for (const RecordKey& key : order) {
    const auto& [record, folder] = latest.at(key);
    const std::string status = record.value("status", "");
    summary.unreadable += status == "unreadable";
    if (key.method.empty()) continue;
    ++summary.records;
    pictures.insert(key.image);
    const auto [it, fresh] = rows.try_emplace({key.method, key.variant});
    if (fresh) names.push_back(it->first);
    if (status == "ok")
      take(it->second.groups[{key.image, key.class_name}], record, folder);
    else
      ++it->second.failed;
  }
  summary.pictures = pictures.size();
  for (const auto& name : names) {
    Row& row = rows.at(name);
    SummaryRow out;
    out.method = name.first, out.variant = name.second, out.failed = row.failed;
    std::map<std::string, std::vector<std::vector<double>>> curves;
    std::vector<double> seconds;
    for (auto& [picture, group] : row.groups) {
      add_agreement(group);
      const size_t place = out.pictures.size();
      out.pictures.push_back(picture.class_name.empty() ? picture.image : picture.image + " (" + picture.class_name + ")");
      out.overlays.push_back(group.overlay);
      for (const auto& [metric, values] : group.metrics) {
        std::vector<double>& column = out.figures[metric];
        column.resize(place, NAN);
        column.push_back(mean_of(values));
      }
      for (const auto& [curve, values] : group.curves) add_curves(curves, curve, mean_curve(values));
      if (!group.seconds.empty()) seconds.push_back(mean_of(group.seconds));
    }
    for (auto& [metric, column] : out.figures) {
      column.resize(out.pictures.size(), NAN);
      std::vector<double> there;
      std::copy_if(column.begin(), column.end(), std::back_inserter(there), [](double v) { return !std::isnan(v); });
      out.metrics[metric] = statistics_of(there);
    }
    for (const auto& [curve, values] : curves) out.curves[curve] = mean_curve(values);
    out.seconds = statistics_of(seconds);
    summary.rows.push_back(std::move(out));
  }
  return summary;
}

std::vector<bool> best_rows(const Summary& summary, const MetricColumn& column) {
  std::vector<double> means;  // negated where less is better
  for (const SummaryRow& row : summary.rows) {
    const auto it = row.metrics.find(column.name);
    means.push_back(it == row.metrics.end() || column.direction == 0 ? NAN : it->second.mean * column.direction);
  }
  double best = -INFINITY, worst = INFINITY;
  for (double mean : means)
    if (!std::isnan(mean)) best = std::max(best, mean), worst = std::min(worst, mean);
  std::vector<bool> rows;
  for (double mean : means) rows.push_back(mean == best && best > worst);
  return rows;
}

}  // namespace actmatch
