// Chooses a plan for each convolution and keeps it: from the cache file, else the quickest of the candidates, timed on the device.
// Pure host code: cuDNN and the device stand behind PlanBuilder and PlanTimer.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/backend/cuda/libraries.h"
#include "engine/backend/cuda/plan_cache.h"
#include "engine/backend/cuda/plan_choice.h"

namespace actmatch::cuda {

// A plan that can run; see ConvRunner.
class BuiltPlan {
 public:
  virtual ~BuiltPlan() = default;
  virtual size_t workspace_bytes() const = 0;
  virtual void run(const ConvTensors& tensors, void* workspace) = 0;
};

// Where plans come from.
class PlanBuilder {
 public:
  struct Candidate {
    EngineChoice choice;
    bool slow_to_build = false;  // has to be compiled first
  };
  struct Candidates {
    std::vector<Candidate> list;  // in the order in which the library prefers them
    std::string summary;          // one line for people: which there were, and why others are not in the list
  };
  virtual ~PlanBuilder() = default;
  virtual std::string name() const = 0;  // "cuDNN"
  virtual Candidates candidates(const PlanKey& key) = 0;
  // Throws Error when the choice cannot be built (any more).
  virtual std::unique_ptr<BuiltPlan> build(const PlanKey& key, const EngineChoice& choice) = 0;
};

class PlanTimer {
 public:
  // Memory for the tensors of one key, and plan after plan timed on it.
  class Bench {
   public:
    virtual ~Bench() = default;
    // Of one run. A plan that is clearly slower than `best` microseconds need not be timed exactly. Throws Error when the plan does not run
    // or cannot be captured; LostDevice when nothing else will run either.
    virtual double microseconds(BuiltPlan& plan, double best) = 0;
    // Of the kernel of our own that does what less_fused(key) leaves; for keys that have one. Throws as above.
    virtual double rest_microseconds() = 0;
  };
  virtual ~PlanTimer() = default;
  virtual std::unique_ptr<Bench> prepare(const PlanKey& key) = 0;  // throws kOutOfMemory
};

// Not thread-safe. find() builds and times plans: never while the stream is captured.
class PlanLibrary : public ConvLibrary {
 public:
  struct Limits {
    size_t workspace_bytes = size_t{256} << 20;
    // The library's order of preference is good: the quickest is nearly always among the first, and a network has dozens of kinds of
    // convolutions.
    int timed = 10;
    int slow_to_build = 4;  // of those at most: each takes up to a second to compile

    // With what $ACTMATCH_PLAN_SEARCH says, "TIMED,SLOW", in place of the two above: for where a quick start counts more than a quick step.
    // Throws kInvalidArgument.
    static Limits from_environment();
  };
  using Notice = std::function<void(const std::string&)>;  // may be empty

  PlanLibrary(std::unique_ptr<PlanBuilder> builder, std::unique_ptr<PlanTimer> timer, PlanCache cache, const Limits& limits, Notice notice);

  // Besides where there is no plan, null also where fusing does not pay: backward data with an addend or a derivative, and the forward pass
  // with a clipped ReLU, when the same without (with a plain ReLU) and a kernel of our own behind it takes less time. No notice then.
  std::shared_ptr<ConvRunner> find(const PlanKey& key) override;

 private:
  struct Choice {
    std::shared_ptr<ConvRunner> runner;       // null: there is none
    std::optional<double> rest_microseconds;  // see PlanRecord; nothing also where nothing was timed
  };
  Choice choose(const PlanKey& key);
  Choice from_cache(const PlanKey& key);
  Choice by_timing(const PlanKey& key, const std::vector<PlanBuilder::Candidate>& candidates, std::string& failure);
  bool fusing_pays(const PlanKey& key, const Choice& fused);
  std::unique_ptr<BuiltPlan> build_within_limits(const PlanKey& key, const EngineChoice& choice);
  std::shared_ptr<ConvRunner> runner(const EngineChoice& choice, std::unique_ptr<BuiltPlan> plan, double microseconds) const;
  void say_once(const std::string& line);

  std::unique_ptr<PlanBuilder> builder_;
  std::unique_ptr<PlanTimer> timer_;
  PlanCache cache_;
  Limits limits_;
  Notice notice_;
  std::map<PlanKey, std::shared_ptr<ConvRunner>> known_;  // null where there is none
  std::set<std::string> said_;
};

}  // namespace actmatch::cuda
