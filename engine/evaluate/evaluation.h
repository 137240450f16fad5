// The loop over pictures, methods, variants and seeds: what is done already is passed over, what fails is recorded, progress is told.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "engine/evaluate/manifest.h"
#include "engine/evaluate/run_folder.h"

namespace actmatch {

// What is to be done with every picture, in this order.
struct Task {
  std::string method, variant;
  uint64_t seed = 0;
};

// Where the figures come from.
class Examiner {
 public:
  virtual ~Examiner() = default;
  // Reads the picture and runs what all tasks share. An Error means that this picture cannot be examined.
  virtual void open(const ManifestEntry& entry) = 0;
  // SHA-256 of the picture's file; empty where it cannot be read. Asked of the open picture, and of pictures that have records already.
  virtual std::string fingerprint(const ManifestEntry& entry) = 0;
  // The record's fields beside its key, status, fingerprint and boxes. An Error means that this task failed; those of ends_the_run
  // (engine/core/lost_device.h) end the run.
  virtual nlohmann::ordered_json examine(const Task& task) = 0;
};

struct EvaluationProgress {
  size_t picture = 0, pictures = 0;  // of this part; from 0
  const ManifestEntry* entry = nullptr;
  const Task* task = nullptr;
  size_t done = 0, to_do = 0;            // records of this run, without those that were there before
  double seconds = 0, seconds_left = 0;  // 0 left: not known yet
};

struct EvaluationOutcome {
  size_t done = 0, found = 0;  // records made now; that were there before
  size_t unreadable = 0;       // pictures, those of earlier runs included
  size_t failed = 0;           // tasks, likewise
};

// Records have "status": "ok"; "failed" with "error"; or, for a picture that could not be opened, one record without a method: "unreadable"
// with "error". `again`: what failed or could not be read in earlier runs is tried anew. `progress` is called before each task; false
// ends the run with kCancelled, after which a run goes on where this one stopped. Throws kInvalidArgument, before anything is done, where
// records are there whose picture had another content or other boxes.
EvaluationOutcome evaluate(RunFolder& folder, const std::vector<ManifestEntry>& manifest, const std::vector<Task>& tasks,
                           const Shard& shard, Examiner& examiner, bool again,
                           const std::function<bool(const EvaluationProgress&)>& progress);

}  // namespace actmatch
