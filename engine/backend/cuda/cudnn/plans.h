// Which plans cuDNN has for a convolution. Works from a description of the device alone; building runtime-compiled engines needs the CUDA
// driver as well.
#pragma once

#include <climits>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/backend/cuda/conv_key.h"
#include "engine/backend/cuda/cudnn/device.h"
#include "engine/backend/cuda/plan_choice.h"

namespace actmatch::cuda {

enum class Heuristic : uint8_t { kA, kB, kFallback };

struct PlanCandidate {
  EngineChoice choice;
  Heuristic found_by = Heuristic::kA;
  size_t workspace_bytes = 0;
  bool tensor_cores = false;
  bool runtime_compiled = false;             // compiled by NVRTC when it is built: slow to build, needs a driver
  std::vector<std::string> numerical_notes;  // cuDNN's, in its words: "tensor core", "winograd", ...
};

// Every candidate that cuDNN named and why those that are not among `plans` were left out.
struct PlanList {
  PlanKey key;
  std::vector<PlanCandidate> plans;  // in the heuristics' order of preference: A, then B, then fallback; no plan twice
  int candidates = 0;                // configurations named by the heuristics, each counted once
  int nondeterministic = 0;          // would not give the same bits again
  int wrong_precision = 0;           // tensor cores where fp32 was asked for, inputs or sums in less precision than asked for
  int too_much_workspace = 0;
  int refused = 0;           // cuDNN's heuristic named them, its engine does not take them
  std::string last_refusal;  // cuDNN's words; also those of the heuristics when they name nothing

  // One line about all of the above.
  std::string summary() const;
  // Throws kUnsupported, with the summary, when there is no plan.
  void require_any() const;
};

struct PlanLimits {
  size_t workspace_bytes = size_t{256} << 20;
  // Building asks the engine itself whether it takes the configuration and how much workspace that needs. Without it runtime-compiled
  // engines are listed as the heuristics name them (some then fail in build), and nothing needs a driver.
  bool build_runtime_compiled = true;
  int enough = INT_MAX;  // ends with this number of precompiled plans: others are not judged, nor counted
};

// The deterministic plans for `key` on `device`, in the precision asked for and within the limits. An empty list is no error, see
// require_any(). Throws kInvalidArgument, naming the convolution and cuDNN's status, when such a convolution cannot exist,
// and kOutOfMemory.
PlanList list_plans(const PlanKey& key, const DeviceDescription& device, const PlanLimits& limits);

}  // namespace actmatch::cuda
