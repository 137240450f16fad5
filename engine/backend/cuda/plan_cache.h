// Remembers which plan was the quickest, from one run of the program to the next: timing all plans of a network takes longer than many
// explanations do. A file of readable JSON; pure host code, so it is built and tested without CUDA.
//
//   {"format": "actmatch cuDNN plans", "version": 2, "machines": [
//     {"device": "NVIDIA H200", "compute_capability": 90, "cudnn": 91900, "plans": {
//       "forward bf16 x 1x56x56x64 w 64x3x3x64 ...": {"engine": 41, "knobs": {"2": 4, "13": 0}, "workspace_bytes": 131,
//       "microseconds": 6.5}}}]}
//
// Plans that something is fused to which a kernel of our own could do instead have the time of that kernel too, "rest_microseconds": with
// both, and the time of the plan without, a later run decides as the one that measured.
//
// Engine numbers and knobs mean something only to one version of cuDNN on one kind of device, so plans are filed under both; those of
// other machines stay in the file, because home directories are shared. The file is a cache: whatever is wrong with it costs time, never
// a result, so nothing here fails for a damaged file or a full disk: it says so and goes on without.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "engine/backend/cuda/conv_key.h"
#include "engine/backend/cuda/plan_choice.h"

namespace actmatch::cuda {

struct PlanMachine {
  std::string device;          // the device's name
  int compute_capability = 0;  // 90 for 9.0
  int64_t cudnn_version = 0;   // 91900 for 9.19.0

  auto operator<=>(const PlanMachine&) const = default;
};

struct PlanRecord {
  EngineChoice choice;
  size_t workspace_bytes = 0;
  double microseconds = 0.0;  // measured; finite, not negative
  // Likewise of the kernel that does what less_fused(key) leaves; nothing where there is no such key.
  std::optional<double> rest_microseconds;

  bool operator==(const PlanRecord&) const = default;
};

// Not thread-safe; several caches, also of several processes, may share a file.
class PlanCache {
 public:
  // Takes one line about something that was ignored and what follows from it.
  using Notice = std::function<void(const std::string&)>;

  // Reads the file. One that is missing is an empty one; one that is damaged or of another version counts as empty too, with a notice,
  // and save() replaces it. With an empty path nothing is read or written.
  PlanCache(std::string path, PlanMachine machine, Notice notice);

  // Of this machine.
  std::optional<PlanRecord> find(const PlanKey& key) const;
  // Replaces what there was for the key; in memory until save().
  void put(const PlanKey& key, const PlanRecord& record);

  // Adds what was put since the last save to what the file holds by now (others may have written in the meantime) and replaces the file in
  // one step. False, with a notice, when that was not possible; the plans then stay for the next try. Without anything new it does nothing.
  bool save();

 private:
  using Plans = std::map<std::string, PlanRecord>;  // by describe(key)
  using Machines = std::map<PlanMachine, Plans>;

  Machines read_file_or_nothing() const;

  std::string path_;
  PlanMachine machine_;
  Notice notice_;
  Machines machines_;  // the file as it was read, and what was put
  Plans unsaved_;
};

// $ACTMATCH_PLAN_CACHE (empty: none), else actmatch/cudnn_plans.json in $XDG_CACHE_HOME or ~/.cache; empty where there is no home.
std::string default_plan_cache_path();

}  // namespace actmatch::cuda
