// Plans of cuDNN for convolutions: which ones there are for a shape, and one of them made ready to run.
// Works from a description of the device alone, except for Plan::run and for runtime-compiled engines, which need the CUDA driver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/cuda/conv_key.h"
#include "engine/backend/cuda/cudnn/device.h"
#include "engine/backend/cuda/plan_choice.h"

namespace actmatch::cuda {

// The tensors in memory of a convolution and what is fused to it (shapes: conv_key.h). Gradients stand at the place of their tensor.
enum class ConvTensor : int64_t {
  kX = 1,       // x, or dx
  kW = 2,       // w, or dw
  kY = 3,       // y, or dy
  kBias = 4,    // [K]
  kAddend = 5,  // the residual, or the skip connection's gradient
  kSaved = 6,   // backward data: output of the activation whose derivative is taken
};

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
};

// The deterministic plans for `key` on `device`, in the precision asked for and within the limits. An empty list is no error, see
// require_any(). Throws kInvalidArgument, naming the convolution and cuDNN's status, when such a convolution cannot exist.
PlanList list_plans(const PlanKey& key, const DeviceDescription& device, const PlanLimits& limits);

// cuDNN's context of one CUDA device and stream.
class Handle {
 public:
  Handle();  // on the current device; throws kUnsupported when there is none
  ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  void set_stream(void* stream);  // a cudaStream_t
  void* get() const { return handle_; }

 private:
  void* handle_ = nullptr;
};

class Plan {
 public:
  // Throws kUnsupported, naming the convolution, the choice and cuDNN's status, when the engine does not take it (or no longer does: the
  // choice may come from a file).
  Plan(const PlanKey& key, const EngineChoice& choice, const DeviceDescription& device);
  ~Plan();
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;

  size_t workspace_bytes() const;
  // Launches on the handle's stream. `tensors` are device addresses, aligned to 16 bytes, of all tensors of the key; `workspace` holds
  // workspace_bytes(). Allocates nothing on the device.
  void run(const Handle& handle, const std::vector<std::pair<ConvTensor, void*>>& tensors, void* workspace) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace actmatch::cuda
