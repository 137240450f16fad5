#include "engine/backend/cuda/plan_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/core/error.h"
#include "engine/image/file.h"

namespace actmatch::cuda {
namespace {

constexpr const char* kFormat = "actmatch cuDNN plans";
constexpr int64_t kVersion = 2;

// Writers of one file take turns, or each would lose what another added between its reading and its writing. Where the file system has no
// locks they do not wait, and all that can happen is just that.
class FileLock {
 public:
  explicit FileLock(const std::string& path) : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (fd_ >= 0) (void)::flock(fd_, LOCK_EX);
  }
  ~FileLock() {
    if (fd_ >= 0) ::close(fd_);  // gives the lock back; the file stays, since removing it would let two in
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_;
};

class Stale : public Error {
 public:
  explicit Stale(const std::string& message) : Error(ErrorCode::kFormat, message) {}
};

int64_t count_of(const nlohmann::json& json, const char* name) {
  const nlohmann::json& value = json.at(name);
  if (!value.is_number_integer() || value.get<int64_t>() < 0) throw Stale(std::string("'") + name + "' is not a count");
  return value.get<int64_t>();
}

nlohmann::json to_json(const PlanRecord& record) {
  nlohmann::json knobs = nlohmann::json::object();
  for (const auto& [knob, value] : record.choice.knobs) knobs[std::to_string(knob)] = value;
  nlohmann::json json = {{"engine", record.choice.engine},
                         {"knobs", std::move(knobs)},
                         {"workspace_bytes", record.workspace_bytes},
                         {"microseconds", record.microseconds}};
  if (record.rest_microseconds) json["rest_microseconds"] = *record.rest_microseconds;
  return json;
}

int64_t knob_number(const std::string& text) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos)
    throw Stale("'" + text + "' is not the number of a knob");
  return std::stoll(text);
}

bool is_a_time(double microseconds) { return std::isfinite(microseconds) && microseconds >= 0; }

double time_of(const nlohmann::json& json, const char* name) {
  const double microseconds = json.at(name).get<double>();
  if (!is_a_time(microseconds)) throw Stale(std::string("'") + name + "' is not a time");
  return microseconds;
}

PlanRecord record_from(const nlohmann::json& json) {
  PlanRecord record;
  record.choice.engine = count_of(json, "engine");
  for (const auto& [knob, value] : json.at("knobs").items()) {
    if (!value.is_number_integer()) throw Stale("the value of knob " + knob + " is not an integer");
    record.choice.knobs[knob_number(knob)] = value.get<int64_t>();
  }
  record.workspace_bytes = static_cast<size_t>(count_of(json, "workspace_bytes"));
  record.microseconds = time_of(json, "microseconds");
  if (json.contains("rest_microseconds")) record.rest_microseconds = time_of(json, "rest_microseconds");
  return record;
}

}  // namespace

PlanCache::PlanCache(std::string path, PlanMachine machine, Notice notice)
    : path_(std::move(path)), machine_(std::move(machine)), notice_(std::move(notice)), machines_(read_file_or_nothing()) {}

PlanCache::Machines PlanCache::read_file_or_nothing() const {
  if (path_.empty()) return {};
  try {
    const std::vector<std::byte> bytes = read_file(path_);
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    const nlohmann::json json = nlohmann::json::parse(text, text + bytes.size());
    if (json.at("format") != kFormat) throw Stale("it is of another format");
    if (json.at("version") != kVersion) throw Stale("it is of version " + json.at("version").dump() + ", not " + std::to_string(kVersion));
    Machines machines;
    for (const nlohmann::json& entry : json.at("machines")) {
      const PlanMachine machine{entry.at("device").get<std::string>(), static_cast<int>(count_of(entry, "compute_capability")),
                                count_of(entry, "cudnn")};
      Plans& plans = machines[machine];
      for (const auto& [key, record] : entry.at("plans").items()) plans[key] = record_from(record);
    }
    return machines;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound && notice_)
      notice_("the plan cache '" + path_ + "' is ignored and plans are timed again: " + error.what());
  } catch (const nlohmann::json::exception& error) {
    if (notice_) notice_("the plan cache '" + path_ + "' is damaged, so it is ignored and plans are timed again: " + error.what());
  }
  return {};
}

std::optional<PlanRecord> PlanCache::find(const PlanKey& key) const {
  const auto machine = machines_.find(machine_);
  if (machine == machines_.end()) return std::nullopt;
  const auto plan = machine->second.find(describe(key));
  if (plan == machine->second.end()) return std::nullopt;
  return plan->second;
}

void PlanCache::put(const PlanKey& key, const PlanRecord& record) {
  ACTMATCH_CHECK(is_a_time(record.microseconds) && is_a_time(record.rest_microseconds.value_or(0)), "a plan was put with no time");
  const std::string name = describe(key);
  machines_[machine_][name] = record;
  unsaved_[name] = record;
}

bool PlanCache::save() {
  if (path_.empty() || unsaved_.empty()) return true;
  try {
    if (const std::string folder = std::filesystem::path(path_).parent_path().string(); !folder.empty()) make_folder(folder);
    const FileLock lock(path_ + ".lock");
    Machines merged = read_file_or_nothing();
    for (const auto& [name, record] : unsaved_) merged[machine_][name] = record;
    nlohmann::json list = nlohmann::json::array();
    for (const auto& [machine, plans] : merged) {
      nlohmann::json named = nlohmann::json::object();
      for (const auto& [name, record] : plans) named[name] = to_json(record);
      list.push_back({{"device", machine.device},
                      {"compute_capability", machine.compute_capability},
                      {"cudnn", machine.cudnn_version},
                      {"plans", std::move(named)}});
    }
    const nlohmann::json file = {{"format", kFormat}, {"version", kVersion}, {"machines", std::move(list)}};
    // A device's name comes from a driver: whatever bytes it has, the file stays valid UTF-8.
    write_file_atomically(path_, file.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    machines_ = std::move(merged);
    unsaved_.clear();
    return true;
  } catch (const Error& error) {
    if (notice_) notice_(std::string("plans are not remembered for the next run: ") + error.what());
    return false;
  }
}

std::string default_plan_cache_path() {
  if (const char* path = std::getenv("ACTMATCH_PLAN_CACHE")) return path;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache && *cache) return std::string(cache) + "/actmatch/cudnn_plans.json";
  const char* home = std::getenv("HOME");
  return home && *home ? std::string(home) + "/.cache/actmatch/cudnn_plans.json" : std::string();
}

}  // namespace actmatch::cuda
