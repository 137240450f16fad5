#include "engine/evaluate/run_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
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

// Texts about metrics may be put better from version to version; their options are no less settings than the others.
bool same_metrics(const Json& before, const Json& now) {
  return before.is_array() && now.is_array() &&
         std::equal(before.begin(), before.end(), now.begin(), now.end(), [](const Json& a, const Json& b) {
           return a.value("name", "") == b.value("name", "") &&
                  (!a.contains("options") || !b.contains("options") || a["options"] == b["options"]);  // older programs named none
         });
}

bool same(const std::string& key, const Json& before, const Json& now) {
  return before == now || (key == "metrics" && same_metrics(before, now));
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

// Makes the file in one step, unless there is one of that name. Of several processes that do so at the same time, on whatever machines, one
// makes it.
void create_once(const std::string& path, const std::string& text) {
  std::string temporary = path + ".XXXXXX";
  const int file = mkstemp(temporary.data());
  if (file < 0)
    throw Error(ErrorCode::kIo, "cannot write '" + path + "': " + std::strerror(errno) + "; choose an --out that you may write to");
  close(file);
  write_file_atomically(temporary, text);
  int error = link(temporary.c_str(), path.c_str()) == 0 ? 0 : errno;
  // Some file systems have no links, but a rename that replaces nothing.
  if (error == EPERM || error == ENOSYS || error == EOPNOTSUPP)
    error = renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0 ? 0 : errno;
  unlink(temporary.c_str());
  if (error && error != EEXIST)
    throw Error(ErrorCode::kIo, "cannot write '" + path + "': " + std::strerror(error) + "; take another --out");
}

// How many parts a log is one of, as its name says; empty for all of the work.
std::string parts_of(const std::string& log) {
  const size_t of = log.rfind("-of-");
  return of == std::string::npos ? "" : log.substr(of);
}

FoundRecord found_of(const Json& record) {
  return {record.value("status", ""), record.value("image_sha256", ""), record.contains("boxes") ? record["boxes"] : Json()};
}

// Length of the UTF-8 sequence at `at`; 0 where there is none (RFC 3629: no surrogates, nothing longer than need be).
size_t utf8_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xC2 && lead < 0xE0 ? 2 : lead >= 0xE0 && lead < 0xF0 ? 3 : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  const unsigned second = byte(1);
  const bool odd = (lead == 0xE0 && second < 0xA0) || (lead == 0xED && second >= 0xA0) || (lead == 0xF0 && second < 0x90) ||
                   (lead == 0xF4 && second >= 0x90);
  return odd ? 0 : length;
}

}  // namespace

std::string in_records(const std::string& name) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (size_t at = 0; at < name.size();) {
    const size_t length = utf8_length(name, at);
    if (length == 0) {
      const auto byte = static_cast<unsigned char>(name[at]);
      text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
    text += name.substr(at, length);
    at += std::max<size_t>(1, length);
  }
  return text;
}

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
  const std::string name = log_name(shard);
  agree("run.json", settings, "an evaluation");
  log_ = std::make_unique<ResultLog>(file(name));
  // Two ways of sharing the work out overlap, and neither process would see what the other is making. The own lock comes first, so that of
  // two that start together at least one sees the other.
  for (const std::string& other : logs_in(path))
    if (parts_of(other) != parts_of(name) && is_being_written(other))
      throw Error(
          ErrorCode::kInvalidArgument,
          "'" + other + "' is being written by a run with other parts; wait for it, or share the work out with the same N of --shard I/N");
  each_record(path, [&](const Json& record) { found_[key_of(record)] = found_of(record); });
}

void RunFolder::agree(const std::string& name, const Json& settings, const std::string& what) const {
  const std::string text = settings.dump(2, ' ', false, Json::error_handler_t::replace), at = file(name);
  make_folder(std::filesystem::path(at).parent_path().string());
  if (!std::filesystem::exists(at)) create_once(at, text + "\n");  // by whichever part is first
  const Json before = parse(text_of(at), "'" + at + "'"), now = Json::parse(text);
  const auto differs = [&](const std::string& key, const std::string& had, const std::string& has) {
    throw Error(ErrorCode::kInvalidArgument, "'" + path_ + "' holds " + what + " with another " + key + " (" + had + ", now " + has +
                                                 "); take another --out, or the same settings");
  };
  for (const auto& [key, value] : now.items()) {
    const auto it = before.find(key);
    if (it == before.end() || !same(key, *it, value)) differs(key, it == before.end() ? "none" : shortened(*it), shortened(value));
  }
  for (const auto& [key, value] : before.items())
    if (!now.contains(key)) differs(key, shortened(value), "none");
}

FoundRecord RunFolder::found(const RecordKey& key) const {
  const auto it = found_.find(key);
  return it == found_.end() ? FoundRecord{} : it->second;
}

std::string RunFolder::file(const std::string& name) const { return (std::filesystem::path(path_) / name).string(); }

void RunFolder::append(const Json& record) {
  // An error's text may quote bytes of a file; they must not end the run.
  log_->append(record.dump(-1, ' ', false, Json::error_handler_t::replace));
  found_[key_of(record)] = found_of(record);
}

RunRecords read_run(const std::string& path) {
  const std::string about = (std::filesystem::path(path) / "run.json").string();
  if (!std::filesystem::exists(about))
    throw Error(ErrorCode::kNotFound, "'" + path + "' holds no evaluation (no run.json); give the --out folder of 'actmatch evaluate'");
  RunRecords run;
  run.folder = path;
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
