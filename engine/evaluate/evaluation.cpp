#include "engine/evaluate/evaluation.h"

#include <optional>
#include <set>

#include "engine/core/lost_device.h"

namespace actmatch {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

RecordKey key(const ManifestEntry& entry, const Task& task) {
  return {in_records(entry.image), in_records(entry.class_name), task.method, task.variant, task.seed};
}
// Of a picture that cannot be opened: no method comes to be tried.
RecordKey key(const ManifestEntry& entry) { return key(entry, {}); }

Json record_of(const RecordKey& key, const char* status) {
  Json record;
  put_key(record, key);
  record["status"] = status;
  return record;
}

Json record_of(const ManifestEntry& entry, const Task& task, Examiner& examiner) {
  Json record = record_of(key(entry, task), "ok");
  record["image_sha256"] = examiner.fingerprint(entry);
  record["boxes"] = entry.boxes;
  return record;
}

// Throws where a record that is there was made from something else than it would be now.
void require_same_picture(const RunFolder& folder, const ManifestEntry& entry, const FoundRecord& found, Examiner& examiner,
                          std::optional<std::string>& fingerprint) {
  const auto differs = [&](const std::string& how, const std::string& cure) {
    throw Error(ErrorCode::kInvalidArgument,
                "'" + folder.path() + "' holds results of '" + in_records(entry.image) + "' " + how + "; take another --out, or " + cure);
  };
  if (!found.boxes.is_null() && found.boxes != Json(entry.boxes))
    differs("with other boxes (" + found.boxes.dump() + ", now " + Json(entry.boxes).dump() + ")", "the same table");
  if (found.image_sha256.empty()) return;
  if (!fingerprint) fingerprint = examiner.fingerprint(entry);
  if (!fingerprint->empty() && *fingerprint != found.image_sha256)
    differs("with another content of that file than '" + in_records(entry.path) + "' has", "the same pictures");
}

}  // namespace

EvaluationOutcome evaluate(RunFolder& folder, const std::vector<ManifestEntry>& manifest, const std::vector<Task>& tasks,
                           const Shard& shard, Examiner& examiner, bool again,
                           const std::function<bool(const EvaluationProgress&)>& progress) {
  EvaluationOutcome outcome;
  // What is left to do, by picture.
  std::vector<std::pair<const ManifestEntry*, std::vector<const Task*>>> work;
  EvaluationProgress p;
  std::set<RecordKey> names;
  for (size_t i = 0; i < manifest.size(); ++i) {
    const ManifestEntry& entry = manifest[i];
    if (!names.insert(key(entry)).second)
      throw Error(ErrorCode::kInvalidArgument,
                  "two pictures would both be '" + in_records(entry.image) + "' in the records; rename one of them");
    if (!shard.takes(static_cast<int64_t>(i))) continue;
    std::vector<const Task*> left;
    if (folder.found(key(entry)).status == "unreadable" && !again) {
      ++outcome.unreadable, ++outcome.found;
      continue;
    }
    std::optional<std::string> fingerprint;
    for (const Task& task : tasks) {
      const FoundRecord before = folder.found(key(entry, task));
      require_same_picture(folder, entry, before, examiner, fingerprint);
      if (before.status.empty() || (before.status == "failed" && again)) {
        left.push_back(&task);
        continue;
      }
      ++outcome.found;
      outcome.failed += before.status == "failed";
    }
    if (left.empty()) continue;
    p.to_do += left.size();
    work.emplace_back(&entry, std::move(left));
  }
  p.pictures = work.size();

  const auto begin = Clock::now();
  const auto tell = [&](const Task* task) {
    p.task = task;
    p.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    p.seconds_left = p.done > 0 ? p.seconds / static_cast<double>(p.done) * static_cast<double>(p.to_do - p.done) : 0;
    if (!progress(p)) {
      folder.sync();
      throw Error(ErrorCode::kCancelled, "stopped by the caller");
    }
  };
  for (const auto& [entry, left] : work) {
    p.entry = entry;
    tell(nullptr);
    try {
      examiner.open(*entry);
      if (folder.found(key(*entry)).status == "unreadable") folder.append(record_of(key(*entry), "readable again"));
    } catch (const Error& e) {
      if (ends_the_run(e)) throw;
      Json record = record_of(key(*entry), "unreadable");
      record["error"] = e.what();
      folder.append(record);
      ++outcome.unreadable, ++outcome.done;
      p.to_do -= left.size();
      ++p.picture;
      continue;
    }
    for (const Task* task : left) {
      tell(task);
      Json record = record_of(*entry, *task, examiner);
      try {
        record.update(examiner.examine(*task));
      } catch (const Error& e) {
        if (ends_the_run(e)) throw;
        record["status"] = "failed";
        record["error"] = e.what();
        ++outcome.failed;
      }
      folder.append(record);
      ++outcome.done, ++p.done;
    }
    ++p.picture;
  }
  folder.sync();
  return outcome;
}

}  // namespace actmatch
