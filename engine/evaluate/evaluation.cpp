#include "engine/evaluate/evaluation.h"

#include "engine/core/lost_device.h"

namespace actmatch {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

RecordKey key(const ManifestEntry& entry, const Task& task) {
  return {entry.image, entry.class_name, task.method, task.variant, task.seed};
}
// Of a picture that cannot be opened: no method comes to be tried.
RecordKey key(const ManifestEntry& entry) { return {entry.image, entry.class_name, "", "", 0}; }

Json record_of(const RecordKey& key, const char* status) {
  Json record;
  put_key(record, key);
  record["status"] = status;
  return record;
}

}  // namespace

EvaluationOutcome evaluate(RunFolder& folder, const std::vector<ManifestEntry>& manifest, const std::vector<Task>& tasks,
                           const Shard& shard, Examiner& examiner, bool again,
                           const std::function<bool(const EvaluationProgress&)>& progress) {
  EvaluationOutcome outcome;
  // What is left to do, by picture.
  std::vector<std::pair<const ManifestEntry*, std::vector<const Task*>>> work;
  EvaluationProgress p;
  const auto state = [&](const RecordKey& k) { return folder.status(k); };
  for (size_t i = 0; i < manifest.size(); ++i) {
    const ManifestEntry& entry = manifest[i];
    if (!shard.takes(static_cast<int64_t>(i))) continue;
    std::vector<const Task*> left;
    const std::string picture = state(key(entry));
    if (picture == "unreadable" && !again) {
      ++outcome.unreadable, ++outcome.found;
      continue;
    }
    for (const Task& task : tasks) {
      const std::string before = state(key(entry, task));
      if (before.empty() || (before == "failed" && again)) {
        left.push_back(&task);
        continue;
      }
      ++outcome.found;
      outcome.failed += before == "failed";
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
      if (folder.status(key(*entry)) == "unreadable") folder.append(record_of(key(*entry), "readable again"));
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
      Json record = record_of(key(*entry, *task), "ok");
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
