#include "engine/evaluate/run_folder.h"

#include <algorithm>
#include <filesystem>

#include "engine/core/error.h"
#include "engine/image/file.h"

namespace actmatch {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Json parse(const std::string& text, const std::string& where) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) throw Error(ErrorCode::kFormat, where + " is damaged (no JSON object); take it out, or another --out");
  return json;
}

std::string shortened(const Json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

void require_same(const Json& before, const Json& now, const std::string& folder) {
  for (const auto& [key, value] : now.items()) {
    const auto it = before.find(key);
    if (it != before.end() && *it == value) continue;
    throw Error(ErrorCode::kInvalidArgument, "'" + folder + "' holds an evaluation with another " + key + " (" +
                                                 (it == before.end() ? "none" : shortened(*it)) + ", now " + shortened(value) +
                                                 "); take another --out, or the same settings");
  }
}

std::vector<std::string> logs_in(const std::string& folder) {
  std::vector<std::string> logs;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("results.", 0) == 0 && entry.path().extension() == ".jsonl") logs.push_back(entry.path().string());
  }
  std::sort(logs.begin(), logs.end());
  return logs;
}

template <class Each>
void each_record(const std::string& folder, const Each& each) {
  for (const std::string& log : logs_in(folder)) {
    size_t line = 0;
    for (const std::string& text : read_log(log)) each(parse(text, "line " + std::to_string(++line) + " of '" + log + "'"));
  }
}

std::string log_name(const Shard& shard) {
  if (shard.count == 1) return "results.jsonl";
  return "results." + std::to_string(shard.index + 1) + "-of-" + std::to_string(shard.count) + ".jsonl";
}

}  // namespace

RecordKey key_of(const Json& record) {
  return {record.value("image", ""), record.value("asked_class", ""), record.value("method", ""), record.value("variant", ""),
          record.value("seed", uint64_t{0})};
}

void put_key(Json& record, const RecordKey& key) {
  record["image"] = key.image;
  record["asked_class"] = key.class_name;
  record["method"] = key.method;
  record["variant"] = key.variant;
  record["seed"] = key.seed;
}

RunFolder::RunFolder(const std::string& path, const Json& settings, const Shard& shard) : path_(path) {
  make_folder(path);
  const std::string about = file("run.json");
  // Parts that start at the same time all write it, each the same.
  if (!std::filesystem::exists(about)) write_file_atomically(about, settings.dump(2) + "\n");
  require_same(parse(text_of(about), "'" + about + "'"), settings, path);
  log_ = std::make_unique<ResultLog>(file(log_name(shard)));
  each_record(path, [&](const Json& record) { status_[key_of(record)] = record.value("status", ""); });
}

std::string RunFolder::status(const RecordKey& key) const {
  const auto it = status_.find(key);
  return it == status_.end() ? "" : it->second;
}

std::string RunFolder::file(const std::string& name) const { return (std::filesystem::path(path_) / name).string(); }

void RunFolder::append(const Json& record) {
  // Names of pictures are bytes; what is not UTF-8 in them must not end the run.
  log_->append(record.dump(-1, ' ', false, Json::error_handler_t::replace));
  status_[key_of(record)] = record.value("status", "");
}

RunRecords read_run(const std::string& path) {
  const std::string about = (std::filesystem::path(path) / "run.json").string();
  if (!std::filesystem::exists(about))
    throw Error(ErrorCode::kNotFound, "'" + path + "' holds no evaluation (no run.json); give the --out folder of 'actmatch evaluate'");
  RunRecords run;
  run.settings = parse(text_of(about), "'" + about + "'");
  std::map<RecordKey, size_t> place;
  each_record(path, [&](Json record) {
    const auto [it, fresh] = place.emplace(key_of(record), run.records.size());
    if (fresh)
      run.records.push_back(std::move(record));
    else
      run.records[it->second] = std::move(record);
  });
  return run;
}

}  // namespace actmatch
