#include "engine/evaluate/summary.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <set>
#include <tuple>

#include "engine/evaluate/run_groups.h"
#include "engine/image/decode.h"
#include "engine/image/file.h"
#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {
namespace {

using Json = nlohmann::ordered_json;

struct Picture {
  std::string image, class_name, content;
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

// Which content a picture's name stands for. Records of older programs do not say; they count as what others say of that name.
class Contents {
 public:
  explicit Contents(const std::vector<RunRecords>& runs) : by_run_(runs.size()) {
    for (size_t r = 0; r < runs.size(); ++r)
      for (const Json& record : runs[r].records) {
        const std::string content = record.value("image_sha256", "");
        if (content.empty()) continue;
        by_run_[r].emplace(record.value("image", ""), content);
        auto& all = by_name_[record.value("image", "")];
        if (std::find(all.begin(), all.end(), content) == all.end()) all.push_back(content);
      }
  }
  std::string of(size_t run, const RecordKey& key) const {
    if (const auto it = by_run_[run].find(key.image); it != by_run_[run].end()) return it->second;
    const auto it = by_name_.find(key.image);
    return it == by_name_.end() ? "" : it->second.front();
  }
  // For people; different pictures have different ones.
  std::string name(const Picture& picture) const {
    std::string name = picture.image;
    if (const auto it = by_name_.find(picture.image); it != by_name_.end() && it->second.size() > 1)
      name += " " + picture.content.substr(0, 8);
    return picture.class_name.empty() ? name : name + " (" + picture.class_name + ")";
  }

 private:
  std::vector<std::map<std::string, std::string>> by_run_;
  std::map<std::string, std::vector<std::string>> by_name_;
};

// The options that runs of one group made a method's records with, as far as the records point to them: a file of the same name may have
// said something else in another run.
class Recipes {
 public:
  Recipes(const std::vector<RunRecords>& runs, const RunGroups& groups) : groups_(groups), by_run_(runs.size()) {
    for (size_t r = 0; r < runs.size(); ++r)
      for (const Json& record : runs[r].records) {
        const std::string file = record.value("recipe", "");
        const RecordKey key = key_of(record);
        if (file.empty() || by_run_[r].count({key.method, key.variant})) continue;
        const std::vector<std::byte> bytes = read_file((std::filesystem::path(runs[r].folder) / file).string());
        const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        by_run_[r][{key.method, key.variant}] = text;
        known_[{groups.of[r], key.method, key.variant}].emplace(text, runs[r].folder);
      }
  }
  // Empty where all that is known is the same.
  std::string of(size_t run, const RecordKey& key) const {
    const auto known = known_.find({groups_.of[run], key.method, key.variant});
    if (known == known_.end() || known->second.size() < 2) return "";
    const auto it = by_run_[run].find({key.method, key.variant});
    return it == by_run_[run].end() ? "" : it->second;
  }
  std::string label(size_t group, const std::string& method, const std::string& variant, const std::string& recipe) const {
    if (recipe.empty()) return "";
    std::vector<Json> objects;
    std::vector<std::string> folders;
    size_t place = 0;
    for (const auto& [text, folder] : known_.at({group, method, variant})) {
      if (text == recipe) place = objects.size();
      objects.push_back(Json::parse(text, nullptr, false));
      folders.push_back(folder);
    }
    return differences(objects, folders)[place];
  }

 private:
  const RunGroups& groups_;
  std::vector<std::map<std::pair<std::string, std::string>, std::string>> by_run_;
  std::map<std::tuple<size_t, std::string, std::string>, std::map<std::string, std::string>> known_;  // text -> a folder that has it
};

}  // namespace

Summary summarise(const std::vector<std::string>& folders) {
  struct Row {
    std::map<Picture, Group> groups;
    int64_t failed = 0;
  };
  // What a record counts under.
  struct Place {
    size_t group = 0;
    std::string method, variant, recipe;
    auto operator<=>(const Place&) const = default;
  };
  struct Work {
    Place place;
    Picture picture;
    uint64_t seed = 0;
    auto operator<=>(const Work&) const = default;
  };
  struct Latest {
    Json record;
    std::string folder;
  };
  Summary summary;
  std::vector<RunRecords> runs;
  for (const std::string& folder : folders) runs.push_back(read_run(folder));
  const RunGroups run_groups = group_runs(runs);
  const Contents contents(runs);
  const Recipes recipes(runs, run_groups);
  std::vector<Work> order;
  std::map<Work, Latest> latest;
  for (size_t r = 0; r < runs.size(); ++r) {
    RunRecords& run = runs[r];
    const Json metrics = run.settings.value("metrics", Json::array());
    for (const Json& metric : metrics) {
      const MetricColumn column{metric.value("name", ""), metric.value("unit", ""), metric.value("about", ""), metric.value("direction", 0),
                                text_of_options(metric.value("options", Json::object()))};
      if (std::none_of(summary.columns.begin(), summary.columns.end(), [&](const MetricColumn& c) { return c.name == column.name; }))
        summary.columns.push_back(column);
    }
    for (Json& record : run.records) {
      const RecordKey key = key_of(record);
      const Work work{
          {run_groups.of[r], key.method, key.variant, recipes.of(r, key)}, {key.image, key.class_name, contents.of(r, key)}, key.seed};
      if (latest.insert_or_assign(work, Latest{std::move(record), run.folder}).second) order.push_back(work);
    }
  }
  std::vector<Place> places;
  std::map<Place, Row> rows;
  std::set<std::pair<std::string, std::string>> pictures, unreadable;  // name and content
  for (const Work& work : order) {
    const auto& [record, folder] = latest.at(work);
    const std::string status = record.value("status", "");
    if (status == "unreadable") unreadable.emplace(work.picture.image, work.picture.content);
    if (work.place.method.empty()) continue;
    ++summary.records;
    pictures.emplace(work.picture.image, work.picture.content);
    const auto [it, fresh] = rows.try_emplace(work.place);
    if (fresh) places.push_back(work.place);
    if (status == "ok")
      take(it->second.groups[work.picture], record, folder);
    else
      ++it->second.failed;
  }
  summary.unreadable = unreadable.size();
  summary.pictures = pictures.size();
  for (const Place& place : places) {
    Row& row = rows.at(place);
    SummaryRow out;
    out.method = place.method, out.variant = place.variant, out.failed = row.failed, out.group = place.group;
    out.setting = run_groups.labels[place.group];
    const std::string own = recipes.label(place.group, place.method, place.variant, place.recipe);
    out.setting += (out.setting.empty() || own.empty() ? "" : "; ") + own;
    std::map<std::string, std::vector<std::vector<double>>> curves;
    std::vector<double> seconds;
    for (auto& [picture, group] : row.groups) {
      add_agreement(group);
      const size_t at = out.pictures.size();
      out.pictures.push_back(contents.name(picture));
      out.overlays.push_back(group.overlay);
      for (const auto& [metric, values] : group.metrics) {
        std::vector<double>& column = out.figures[metric];
        column.resize(at, NAN);
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
  std::vector<bool> rows(summary.rows.size(), false);
  if (column.direction == 0) return rows;
  // By group and picture, the rows that have a figure, and the figure.
  std::map<size_t, std::map<std::string, std::map<size_t, double>>> groups;
  std::map<size_t, std::set<size_t>> members;
  for (size_t r = 0; r < summary.rows.size(); ++r) {
    const SummaryRow& row = summary.rows[r];
    const auto figures = row.figures.find(column.name);
    if (figures == row.figures.end()) continue;
    for (size_t i = 0; i < figures->second.size(); ++i) {
      if (std::isnan(figures->second[i])) continue;
      groups[row.group][row.pictures[i]][r] = figures->second[i];
      members[row.group].insert(r);
    }
  }
  for (const auto& [group, pictures] : groups) {
    std::map<size_t, double> sums;  // negated where less is better
    size_t common = 0;
    for (const auto& [picture, figures] : pictures) {
      if (figures.size() < members[group].size()) continue;
      ++common;
      for (const auto& [r, figure] : figures) sums[r] += figure * column.direction;
    }
    double best = -INFINITY, worst = INFINITY;
    for (const auto& [r, sum] : sums) best = std::max(best, sum), worst = std::min(worst, sum);
    for (const auto& [r, sum] : sums) rows[r] = common > 0 && sum == best && best > worst;
  }
  return rows;
}

}  // namespace actmatch
