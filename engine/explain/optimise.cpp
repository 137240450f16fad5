#include "engine/explain/optimise.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/core/error.h"
#include "engine/explain/step.h"

namespace actmatch {

using Clock = std::chrono::steady_clock;

namespace {

constexpr const char* kTermNames[] = {"act", "kl", "ce", "margin", "area", "bin", "tv", "rob", "nec", "total"};  // by kernels::TraceColumn
static_assert(std::size(kTermNames) == kernels::kTraceTotal + 1);

// How many steps the host may be ahead of what it has read: the device never runs dry, a stop request gets through soon, and no row of the
// trace is overwritten before it was read.
constexpr int64_t kAhead = OptimisationStep::kTraceSteps / 2;

// Reads the trace as it arrives and hands it on.
class Watch {
 public:
  Watch(std::span<OptimisedMask> results, OptimisationStep& step, Readback& readback, int64_t steps, const ProgressCallback& progress)
      : results_(results), step_(step), readback_(readback), steps_(steps), progress_(progress) {}

  int64_t seen() const { return seen_; }
  // Takes in the steps that have arrived by now.
  void look() {
    const OptimisationStep::Report report(readback_.latest(), step_.batch());
    for (const int64_t done = report.steps_done(); seen_ < done; ++seen_)
      for (size_t i = 0; i < results_.size(); ++i) take(report.row(seen_, static_cast<int64_t>(i)), i);
  }
  bool all_failed() const {
    return std::all_of(results_.begin(), results_.end(), [](const OptimisedMask& r) { return !r.failure.empty(); });
  }

 private:
  void take(std::span<const float> row, size_t picture) {
    OptimisedMask& result = results_[picture];
    if (!result.failure.empty()) return;
    for (size_t t = 0; t < std::size(kTermNames); ++t) result.losses[t].values.push_back(row[t]);
    const int64_t step = result.steps = seen_ + 1;
    const float total = row[kernels::kTraceTotal];
    if (!std::isfinite(total)) {
      result.failure = "the loss became " + std::to_string(total) + " at step " + std::to_string(step) +
                       "; a smaller learning_rate or weight in the recipe cures that";
      return;
    }
    if (!progress_) return;
    const ClassifierShape& shape = step_.shape();
    const double area = static_cast<double>(row[kernels::kTracePixels]) / static_cast<double>(shape.height * shape.width);
    const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
    const double left = elapsed / static_cast<double>(step) * static_cast<double>(steps_ - step);
    if (!progress_({step, steps_, area, &result.losses, elapsed, left, static_cast<int64_t>(picture)}))
      throw Error(ErrorCode::kCancelled, "stopped");
  }

  std::span<OptimisedMask> results_;
  OptimisationStep& step_;
  Readback& readback_;
  int64_t steps_, seen_ = 0;
  const ProgressCallback& progress_;
  Clock::time_point start_ = Clock::now();
};

// The same with mean 0 and that deviation; zeros where all are equal.
std::vector<float> spread(std::vector<float> logits, double deviation) {
  double mean = 0, square = 0;
  for (float v : logits) mean += v / static_cast<double>(logits.size());
  for (float v : logits) square += (v - mean) * (v - mean) / static_cast<double>(logits.size());
  const double scale = square > 0 ? deviation / std::sqrt(square) : 0;
  for (float& v : logits) v = static_cast<float>((v - mean) * scale);
  return logits;
}

}  // namespace

struct Optimiser::State {
  Classifier& classifier;
  Recipe recipe;
  std::vector<std::string> tap_names;
  std::unique_ptr<OptimisationStep> step;  // null after a failure
  std::unique_ptr<Readback> readback;
  std::function<SoftMap(const Problem&)> first;

  void drop() { readback.reset(), step.reset(); }
  void prepare(int64_t batch) {
    drop();  // first, so that there is room
    step = std::make_unique<OptimisationStep>(classifier, recipe, tap_names, batch);
    readback = classifier.backend().make_readback(step->report(), step->report_floats());
  }
};

Optimiser::Optimiser(Classifier& classifier, const Recipe& recipe, int64_t batch)
    : state_(std::make_unique<State>(State{classifier, recipe, {}, nullptr, nullptr, {}})) {
  state_->tap_names = matched_taps(classifier, recipe);
  prepare(batch);
}

Optimiser::~Optimiser() = default;
const std::vector<std::string>& Optimiser::tap_names() const { return state_->tap_names; }
int64_t Optimiser::passes_per_step() const { return OptimisationStep::passes_of(state_->recipe); }
std::string Optimiser::implementation() const { return state_->step ? state_->step->implementation() : "not recorded yet"; }

void Optimiser::prepare(int64_t batch) {
  ACTMATCH_CHECK(batch >= 1, "a batch has at least one picture");
  if (!state_->step || state_->step->batch() != batch) state_->prepare(batch);
}

void Optimiser::begin_from(std::function<SoftMap(const Problem&)> first) { state_->first = std::move(first); }

int64_t Optimiser::ready() const { return state_->step ? state_->step->batch() : 0; }

size_t Optimiser::estimate_bytes(int64_t batch) const {
  ACTMATCH_CHECK(state_->step, "a batch that fits is prepared first");
  const OptimisationStep::Memory m = state_->step->memory();
  const auto ready = static_cast<size_t>(state_->step->batch());
  return m.fixed + (m.by_batch + ready - 1) / ready * static_cast<size_t>(batch);
}

std::vector<OptimisedMask> Optimiser::run(std::span<const Problem> problems, uint64_t seed, const ProgressCallback& progress) {
  if (problems.empty()) return {};
  const auto start_time = Clock::now();
  const auto count = static_cast<int64_t>(problems.size());
  State& state = *state_;
  ACTMATCH_CHECK(state.first || state.recipe.generator.start.empty(), "a recipe that begins from an explainer needs begin_from()");
  const int64_t ready = state.step ? state.step->batch() : 0;
  if (count > ready || 2 * count <= ready) state.prepare(count);
  Backend& backend = state.classifier.backend();
  OptimisationStep& step = *state.step;

  std::vector<OptimisedMask> results(problems.size());
  for (OptimisedMask& r : results)
    for (const char* name : kTermNames) r.losses.push_back({name, {}});
  const int64_t steps = state.recipe.steps;
  try {
    step.start(problems, seed);
    for (size_t i = 0; i < problems.size() && state.first; ++i) {
      const SoftMap first = state.first(problems[i]);
      results[i].forward = first.forward, results[i].backward = first.backward;
      step.generator().set_grid(static_cast<int64_t>(i), spread(first.logits, state.recipe.generator.start_spread));
    }
    // What an earlier run has left under way must not be taken for this one's.
    const auto read_all = [&] {
      backend.synchronize();
      state.readback->request();
      backend.synchronize();
    };
    read_all();
    Watch watch(results, step, *state.readback, steps, progress);
    for (int64_t done = 0; done < steps && !watch.all_failed();) {
      step.run();
      ++done;
      state.readback->request();
      if (done - watch.seen() >= kAhead || done == steps) read_all();
      watch.look();
    }
    step.finish();
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kCancelled) state.drop();  // after a stop everything is as good as before
    throw;
  }
  const OptimisationStep::Memory memory = step.memory();
  const double seconds = std::chrono::duration<double>(Clock::now() - start_time).count();
  for (size_t i = 0; i < results.size(); ++i) {
    OptimisedMask& r = results[i];
    const auto picture = static_cast<int64_t>(i);
    r.logits = step.logits(picture);
    r.soft = step.soft(picture);
    r.best = step.best(picture);
    r.passes_per_step = step.passes();
    r.forward += step.passes() * steps, r.backward += step.passes() * steps;
    if (!state.tap_names.empty()) ++r.forward;  // the picture itself, for the taps
    r.seconds = seconds / static_cast<double>(count);
    r.memory_bytes = memory.programs / static_cast<size_t>(step.batch());
  }
  return results;
}

OptimisedMask Optimiser::run(const Problem& problem, uint64_t seed, const ProgressCallback& progress) {
  OptimisedMask result = std::move(run(std::span(&problem, 1), seed, progress).front());
  if (!result.failure.empty()) throw Error(ErrorCode::kInvalidArgument, result.failure);
  return result;
}

}  // namespace actmatch
