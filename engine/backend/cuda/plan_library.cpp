#include "engine/backend/cuda/plan_library.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/core/lost_device.h"

namespace actmatch::cuda {
namespace {

// A plan that the library prefers is only given up for one that is this much quicker: less is noise, and with the choice of the plan the
// last bits of the results change.
constexpr double kClearlyQuicker = 0.98;

constexpr double kNotTimed = 0.0;

class Runner : public ConvRunner {
 public:
  Runner(std::unique_ptr<BuiltPlan> plan, double microseconds, std::string description)
      : plan_(std::move(plan)), microseconds_(microseconds), description_(std::move(description)) {}
  size_t workspace_bytes() const override { return plan_->workspace_bytes(); }
  void run(const ConvTensors& tensors, void* workspace) override { plan_->run(tensors, workspace); }
  double microseconds() const override { return microseconds_; }
  std::string description() const override { return description_; }

 private:
  std::unique_ptr<BuiltPlan> plan_;
  double microseconds_;
  std::string description_;
};

// Errors that say "not this plan"; others are not about the plan.
bool concerns_the_plan(const Error& error) {
  return error.code() != ErrorCode::kInternal && error.code() != ErrorCode::kCancelled &&
         dynamic_cast<const LostDevice*>(&error) == nullptr;
}

}  // namespace

PlanLibrary::Limits PlanLibrary::Limits::from_environment() {
  Limits limits;
  const char* text = std::getenv("ACTMATCH_PLAN_SEARCH");
  if (!text || !*text) return limits;
  const char* end = text + std::strlen(text);
  const auto [comma, bad_timed] = std::from_chars(text, end, limits.timed);
  const char* rest = comma != end && *comma == ',' ? comma + 1 : end;
  const auto [last, bad_slow] = std::from_chars(rest, end, limits.slow_to_build);
  if (bad_timed != std::errc() || bad_slow != std::errc() || last != end || limits.timed < 1 || limits.slow_to_build < 0)
    throw Error(ErrorCode::kInvalidArgument, std::string("ACTMATCH_PLAN_SEARCH is '") + text +
                                                 "'; it takes two numbers as in '10,4': plans to time for a convolution, and how many of " +
                                                 "those that have to be compiled first may be built");
  return limits;
}

PlanLibrary::PlanLibrary(std::unique_ptr<PlanBuilder> builder, std::unique_ptr<PlanTimer> timer, PlanCache cache, const Limits& limits,
                         Notice notice)
    : builder_(std::move(builder)), timer_(std::move(timer)), cache_(std::move(cache)), limits_(limits), notice_(std::move(notice)) {}

void PlanLibrary::say_once(const std::string& line) {
  if (notice_ && said_.insert(line).second) notice_(line);
}

std::shared_ptr<ConvRunner> PlanLibrary::runner(const EngineChoice& choice, std::unique_ptr<BuiltPlan> plan, double microseconds) const {
  return std::make_shared<Runner>(std::move(plan), microseconds, builder_->name() + " " + describe(choice));
}

std::shared_ptr<ConvRunner> PlanLibrary::find(const PlanKey& key) {
  if (const auto known = known_.find(key); known != known_.end()) return known->second;
  const Choice choice = choose(key);
  return known_[key] = choice.runner && fusing_pays(key, choice) ? choice.runner : nullptr;
}

bool PlanLibrary::fusing_pays(const PlanKey& key, const Choice& fused) {
  if (!fused.rest_microseconds) return true;
  const std::shared_ptr<ConvRunner> less = find(*less_fused(key));
  if (!less || less->microseconds() == kNotTimed) return true;
  return fused.runner->microseconds() <= less->microseconds() + *fused.rest_microseconds;
}

PlanLibrary::Choice PlanLibrary::choose(const PlanKey& key) {
  if (Choice remembered = from_cache(key); remembered.runner) return remembered;
  const PlanBuilder::Candidates candidates = builder_->candidates(key);
  std::string failure = candidates.summary;
  if (Choice timed = by_timing(key, candidates.list, failure); timed.runner) return timed;
  // Where less can be fused the caller asks for that next, and hears then if there is nothing either.
  if (!less_fused(key)) say_once("no plan of " + builder_->name() + " for '" + describe(key) + "', so own kernels do it: " + failure);
  return {};
}

std::unique_ptr<BuiltPlan> PlanLibrary::build_within_limits(const PlanKey& key, const EngineChoice& choice) {
  std::unique_ptr<BuiltPlan> plan = builder_->build(key, choice);
  if (plan->workspace_bytes() > limits_.workspace_bytes)
    throw Error(ErrorCode::kUnsupported, "'" + describe(key) + "' on " + describe(choice) + " needs " +
                                             std::to_string(plan->workspace_bytes()) + " bytes of workspace, over the limit of " +
                                             std::to_string(limits_.workspace_bytes));
  return plan;
}

PlanLibrary::Choice PlanLibrary::from_cache(const PlanKey& key) {
  const std::optional<PlanRecord> record = cache_.find(key);
  if (!record) return {};
  try {
    if (record->rest_microseconds.has_value() != less_fused(key).has_value())
      throw Error(ErrorCode::kFormat, "'" + describe(key) + "' has " + (record->rest_microseconds ? "a" : "no") + " time of the rest");
    return {runner(record->choice, build_within_limits(key, record->choice), record->microseconds), record->rest_microseconds};
  } catch (const Error& error) {
    if (!concerns_the_plan(error)) throw;
    say_once(std::string("a remembered plan cannot be used, so plans are timed again: ") + error.what());
    return {};
  }
}

// The quickest of the first candidates that can be built and run. Where there is no memory to time them, the first that can be built: it is
// the library's best guess, and it is not remembered. Nor is a choice among those for which there was memory; where there is none of these,
// a smaller batch may have some, so that is what is thrown.
PlanLibrary::Choice PlanLibrary::by_timing(const PlanKey& key, const std::vector<PlanBuilder::Candidate>& candidates,
                                           std::string& failure) {
  std::unique_ptr<PlanTimer::Bench> bench;
  try {
    if (!candidates.empty()) bench = timer_->prepare(key);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kOutOfMemory) throw;
    say_once("too little memory to time plans for '" + describe(key) + "', so the one that " + builder_->name() +
             " suggests is taken: " + error.what());
  }
  std::unique_ptr<BuiltPlan> best;
  PlanRecord record;
  record.microseconds = std::numeric_limits<double>::infinity();
  int timed = 0, slow = 0;
  bool starved = false;
  for (const PlanBuilder::Candidate& candidate : candidates) {
    if (timed == limits_.timed) break;
    if (candidate.slow_to_build && slow == limits_.slow_to_build) continue;
    slow += candidate.slow_to_build;
    try {
      std::unique_ptr<BuiltPlan> plan = build_within_limits(key, candidate.choice);
      if (!bench) return {runner(candidate.choice, std::move(plan), kNotTimed), {}};
      const double microseconds = bench->microseconds(*plan, record.microseconds);
      ++timed;
      if (!(microseconds < record.microseconds * kClearlyQuicker)) continue;
      record = {candidate.choice, plan->workspace_bytes(), microseconds, {}};
      best = std::move(plan);
    } catch (const Error& error) {
      if (!concerns_the_plan(error)) throw;
      starved |= error.code() == ErrorCode::kOutOfMemory;
      failure = error.what();
    }
  }
  if (!best && starved)
    throw Error(ErrorCode::kOutOfMemory, "too little memory of the device for '" + describe(key) + "'; a smaller batch needs less");
  if (!best) return {};
  if (less_fused(key)) record.rest_microseconds = bench->rest_microseconds();
  if (!starved) {
    cache_.put(key, record);
    cache_.save();  // at once: whatever ends the program, the time was not spent for nothing
  }
  return {runner(record.choice, std::move(best), record.microseconds), record.rest_microseconds};
}

}  // namespace actmatch::cuda
