#include "engine/backend/cuda/cudnn/cudnn_library.h"

#include <array>
#include <map>
#include <utility>

#include "engine/backend/cuda/cudnn/plan.h"
#include "engine/backend/cuda/cudnn/plan_timer.h"
#include "engine/backend/cuda/cudnn/plans.h"
#include "engine/backend/cuda/plan_library.h"
#include "engine/core/error.h"

namespace actmatch::cuda {
namespace {

// A plan with the arguments that it has been called with. Layers of equal shape share a plan and each calls it with the same addresses in
// every step, so a step makes no descriptors.
class CudnnPlan : public BuiltPlan {
 public:
  CudnnPlan(Plan plan, std::shared_ptr<const Handle> handle) : plan_(std::move(plan)), handle_(std::move(handle)) {}
  size_t workspace_bytes() const override { return plan_.workspace_bytes(); }

  void run(const ConvTensors& tensors, void* workspace) override {
    const Addresses addresses{tensors.x, tensors.w, tensors.y, tensors.bias, tensors.addend, tensors.saved, workspace};
    auto known = known_.find(addresses);
    if (known == known_.end()) {
      if (known_.size() == kMostKnown) known_.clear();  // of programs that are gone, most of them
      known = known_.emplace(addresses, plan_.bind(tensors, workspace)).first;
    }
    plan_.run(*handle_, known->second);
  }

 private:
  static constexpr size_t kMostKnown = 256;
  using Addresses = std::array<const void*, 7>;

  Plan plan_;
  std::shared_ptr<const Handle> handle_;  // runners may outlive the library
  std::map<Addresses, Plan::Arguments> known_;
};

class CudnnBuilder : public PlanBuilder {
 public:
  CudnnBuilder(const CudnnOptions& options, int timed) : device_(DeviceDescription::of_device(options.device)) {
    auto handle = std::make_shared<Handle>();
    handle->set_stream(options.stream);
    handle_ = std::move(handle);
    limits_.workspace_bytes = options.workspace_bytes;
    limits_.enough = 2 * timed;              // some may not run
    limits_.build_runtime_compiled = false;  // most of them will not be among the first; those that are get built once, to be timed
  }
  const DeviceDescription& device() const { return device_; }
  std::string name() const override { return "cuDNN"; }

  Candidates candidates(const PlanKey& key) override {
    const PlanList list = list_plans(key, device_, limits_);
    Candidates candidates;
    candidates.summary = list.summary();
    for (const PlanCandidate& plan : list.plans) candidates.list.push_back({plan.choice, plan.runtime_compiled});
    return candidates;
  }
  std::unique_ptr<BuiltPlan> build(const PlanKey& key, const EngineChoice& choice) override {
    return std::make_unique<CudnnPlan>(Plan(key, choice, device_), handle_);
  }

 private:
  DeviceDescription device_;
  std::shared_ptr<const Handle> handle_;
  PlanLimits limits_;
};

}  // namespace

std::unique_ptr<ConvLibrary> make_cudnn_library(const CudnnOptions& options) {
  ACTMATCH_CHECK(options.stream, "cuDNN needs a stream of its own");
  ACTMATCH_CHECK(options.rest, "cuDNN's fused plans need something to be compared with");
  PlanLibrary::Limits limits = PlanLibrary::Limits::from_environment();
  limits.workspace_bytes = options.workspace_bytes;
  auto builder = std::make_unique<CudnnBuilder>(options, limits.timed);
  const PlanMachine machine{builder->device().name(), builder->device().compute_capability(), cudnn_version()};
  return std::make_unique<PlanLibrary>(std::move(builder), std::make_unique<CudaPlanTimer>(options.stream, options.rest),
                                       PlanCache(options.cache_path, machine, options.notice), limits, options.notice);
}

}  // namespace actmatch::cuda
