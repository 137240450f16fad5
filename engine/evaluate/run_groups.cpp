#include "engine/evaluate/run_groups.h"

#include <algorithm>
#include <map>
#include <set>

namespace actmatch {
namespace {

using Json = nlohmann::ordered_json;

// Paths of values, as a sweep names them, and the values as texts.
void flatten(const Json& json, const std::string& path, std::map<std::string, std::string>& into) {
  if (json.is_object())
    for (const auto& [key, value] : json.items()) flatten(value, path.empty() ? key : path + "." + key, into);
  else if (!json.is_null())
    into[path] = json.is_string() ? json.get<std::string>() : json.dump();
}

// What decides about figures. The model is known by its content; what a metric says of itself decides nothing.
Json deciding(const Json& settings) {
  Json left = settings;
  for (const char* key : {"schema", "metrics", "model"}) left.erase(key);
  if (left.contains("generator_sha256") && !left["generator_sha256"].is_null()) left.erase("generator");  // a path
  return left;
}

}  // namespace

std::vector<std::string> differences(const std::vector<Json>& objects, const std::vector<std::string>& names) {
  constexpr size_t kMostValues = 3, kLongest = 60;
  std::vector<std::map<std::string, std::string>> values(objects.size());
  std::map<std::string, std::set<std::string>> seen;
  for (size_t i = 0; i < objects.size(); ++i) flatten(objects[i], "", values[i]);
  for (const auto& all : values)
    for (const auto& [path, unused] : all)
      for (const auto& other : values) seen[path].insert(other.count(path) ? other.at(path) : "none");
  std::vector<std::string> labels;
  for (size_t i = 0; i < objects.size(); ++i) {
    std::string label;
    size_t count = 0;
    for (const auto& [path, distinct] : seen) {
      if (distinct.size() < 2) continue;
      ++count;
      label += (label.empty() ? "" : "; ") + path + "=" + (values[i].count(path) ? values[i].at(path) : "none");
    }
    labels.push_back(count > kMostValues || label.size() > kLongest ? names[i] : label);
  }
  return labels;
}

RunGroups group_runs(const std::vector<RunRecords>& runs) {
  RunGroups groups;
  std::vector<const RunRecords*> first;
  for (const RunRecords& run : runs) {
    const auto it = std::find_if(first.begin(), first.end(),
                                 [&](const RunRecords* other) { return deciding(other->settings) == deciding(run.settings); });
    groups.of.push_back(static_cast<size_t>(it - first.begin()));
    if (it == first.end()) first.push_back(&run);
  }
  // Models by their names; what else differs, preprocessing say, only where one model has several groups.
  const auto model = [](const RunRecords* run) { return run->settings.value("model_sha256", run->settings.value("model", "")); };
  const auto name = [](const RunRecords* run) { return run->settings.value("model", ""); };
  groups.labels.resize(first.size());
  for (size_t g = 0; g < first.size(); ++g) {
    std::string& label = groups.labels[g];
    const auto other_model = [&](const RunRecords* run) { return model(run) != model(first[g]); };
    if (std::any_of(first.begin(), first.end(), other_model)) {
      label = name(first[g]);
      if (std::any_of(first.begin(), first.end(), [&](const RunRecords* run) { return other_model(run) && name(run) == label; }))
        label += " " + model(first[g]).substr(0, 8);
    }
    std::vector<Json> settings;
    std::vector<std::string> folders;
    size_t place = 0;
    for (size_t i = 0; i < first.size(); ++i) {
      if (other_model(first[i])) continue;
      if (i == g) place = settings.size();
      settings.push_back(deciding(first[i]->settings));
      folders.push_back(first[i]->folder);
    }
    const std::string rest = differences(settings, folders)[place];
    label += (label.empty() || rest.empty() ? "" : "; ") + rest;
  }
  return groups;
}

}  // namespace actmatch
