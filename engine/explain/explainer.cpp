#include "engine/explain/explainer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <deque>

#include "engine/backend/trace_range.h"
#include "engine/core/error.h"
#include "engine/explain/together.h"

namespace actmatch {

using kernels::RandomStream;
using Clock = std::chrono::steady_clock;

namespace {

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Clears `allowed` within `margin` pixels (a square neighbourhood) of the mask.
void exclude(std::vector<uint8_t>& allowed, const HardMask& mask, int64_t H, int64_t W, int64_t margin) {
  for (int64_t y = 0; y < H; ++y)
    for (int64_t x = 0; x < W; ++x) {
      if (!mask[static_cast<size_t>(y * W + x)]) continue;
      for (int64_t v = std::max<int64_t>(0, y - margin); v <= std::min(H - 1, y + margin); ++v)
        for (int64_t u = std::max<int64_t>(0, x - margin); u <= std::min(W - 1, x + margin); ++u)
          allowed[static_cast<size_t>(v * W + u)] = 0;
    }
}

}  // namespace

Explainer::Explainer(Classifier& classifier, const Recipe& recipe, int64_t batch)
    : Explainer(classifier, std::make_unique<Optimiser>(classifier, recipe, batch)) {}
Explainer::Explainer(Classifier& classifier, std::unique_ptr<Method> method) : classifier_(classifier), method_(std::move(method)) {}
Explainer::~Explainer() = default;

Problem make_problem(Classifier& classifier, const ExplainInput& input, const ExplainSettings& settings) {
  const ClassifierShape& shape = classifier.shape();
  ACTMATCH_CHECK(static_cast<int64_t>(input.x.size()) == classifier.image_floats(), "the image does not have the model's size");
  // Looked for here, because a ReLU may turn NaN into 0 and hide it from the scores.
  if (!std::all_of(input.x.begin(), input.x.end(), [](float v) { return std::isfinite(v); }))
    throw Error(ErrorCode::kInvalidArgument, "the picture has NaN or infinite pixels; check the preprocessing");
  Problem problem;
  problem.x = input.x;
  problem.colour = input.colour;
  problem.backgrounds = input.backgrounds;
  problem.backgrounds.seed = settings.seed;
  problem.image_index = input.image_index;
  problem.criterion = settings.criterion;
  problem.logits_x.resize(static_cast<size_t>(shape.classes));
  classifier.logits(problem.logits_x.data(), problem.x.data(), 1);
  for (float z : problem.logits_x)
    if (!(z - z == 0.0f))
      throw Error(ErrorCode::kInvalidArgument,
                  "the classifier gives NaN or infinite scores on this picture; check the preprocessing, and the model's weights with "
                  "'actmatch inspect'");
  problem.label = input.label < 0 ? argmax(problem.logits_x) : input.label;
  if (problem.label >= shape.classes)
    throw Error(ErrorCode::kInvalidArgument, "class " + std::to_string(problem.label) + " does not exist: the model has classes 0 to " +
                                                 std::to_string(shape.classes - 1));
  problem.p_x = softmax(problem.logits_x)[static_cast<size_t>(problem.label)];
  return problem;
}

void measure(FeasibilityChecker& checker, const Problem& problem, const HardMask& mask, Explanation& out) {
  const BaselineCheck e = checker.baseline(std::span(&mask, 1)).front();
  const BaselineCheck c = checker.complement(std::span(&mask, 1)).front();
  out.label_kept = e.top == problem.label;
  out.p_e = e.p_label;
  out.necessity = c.top != problem.label;
  out.p_complement = c.p_label;
  out.area = static_cast<double>(count_pixels(mask)) / static_cast<double>(mask.size());
  const auto K = static_cast<double>(problem.criterion.backgrounds);
  out.background_stability = static_cast<double>(checker.held(mask, RandomStream::kCertify)) / K;
  out.fresh_stability = static_cast<double>(checker.held_fresh(mask)) / K;
}

// One input of a batch on its way.
struct Explainer::Task {
  int64_t picture = 0;
  Problem problem;
  Outcome* outcome = nullptr;
};

// From one task's soft map to its mask.
struct Explainer::Conclusion {
  Task* task = nullptr;
  const SoftMap* found = nullptr;
  Explanation explanation{};
};

namespace {

// `progress` hears the area of the mask.
Explanation conclude_one(FeasibilityChecker& checker, const Problem& problem, const ClassifierShape& shape, const SoftMap& found,
                         const ExplainSettings& settings, bool always_measure, const PruneProgress& progress) {
  Explanation e;
  e.soft = found.soft;
  e.losses = found.losses;
  e.steps = found.steps;
  e.passes_per_step = found.passes_per_step;
  e.forward = found.forward, e.backward = found.backward;
  e.optimise_seconds = found.seconds;
  e.memory_bytes = found.memory_bytes;
  std::vector<HardMask> candidates;
  if (!found.best.empty()) {
    candidates.push_back(found.best);
    if (!problem.allowed.empty())
      for (size_t i = 0; i < candidates[0].size(); ++i) candidates[0][i] &= problem.allowed[i];
  }
  PruneResult pruned = prune_mask(checker, problem, shape, found.logits, candidates, settings.prune, progress);
  e.feasible = pruned.feasible;
  e.minimal_tile = pruned.minimal ? settings.prune.tile : 0;
  e.pruned_from_area = pruned.start_area;
  e.mask = std::move(pruned.mask);
  if (always_measure || e.feasible) measure(checker, problem, e.mask, e);  // others are not kept
  return e;
}

// A checker and what a picture's work says on the way, for the thread that speaks with the caller.
struct Seat {
  Seat(Classifier& classifier, const Problem& problem, const std::shared_ptr<BackgroundSets>& sets) : checker(classifier, problem, sets) {}
  FeasibilityChecker checker;
  std::atomic<double> area{-1.0};
  double told = -1.0;
};

}  // namespace

void Explainer::conclude(std::span<Conclusion> conclusions, const ExplainSettings& settings, int64_t instance,
                         const ExplainProgressCallback& progress) {
  const TraceRange range(classifier_.backend(), "pruning and checks");
  const ClassifierShape& shape = classifier_.shape();
  const auto tell = [&](const Conclusion& c, double area) { return !progress || progress({"prune", instance, {}, area, c.task->picture}); };
  // A processor whose cache is full gains nothing by larger batches.
  if (conclusions.size() < 2 || classifier_.backend().quick_bytes() > 0) {
    for (Conclusion& c : conclusions) {
      const auto start = Clock::now();
      FeasibilityChecker checker(classifier_, c.task->problem, sets_);
      c.explanation =
          conclude_one(checker, c.task->problem, shape, *c.found, settings, instance == 0, [&](double area) { return tell(c, area); });
      c.explanation.prune_seconds = seconds_since(start);
    }
    return;
  }
  constexpr size_t kMostThreads = 64;
  for (size_t first = 0; first < conclusions.size(); first += kMostThreads) {
    const auto start = Clock::now();
    const std::span<Conclusion> some = conclusions.subspan(first, std::min(kMostThreads, conclusions.size() - first));
    std::deque<Seat> seats;
    for (const Conclusion& c : some) seats.emplace_back(classifier_, c.task->problem, sets_);
    work_together(
        classifier_, some.size(),
        [&](size_t i, MaskedAnswers& answers) {
          Conclusion& c = some[i];
          seats[i].checker.ask(&answers);
          c.explanation = conclude_one(seats[i].checker, c.task->problem, shape, *c.found, settings, instance == 0, [&](double area) {
            seats[i].area = area;
            return true;
          });
        },
        [&] {
          for (size_t i = 0; i < some.size(); ++i) {
            const double area = seats[i].area;
            if (area == seats[i].told) continue;
            seats[i].told = area;
            if (!tell(some[i], area)) throw Error(ErrorCode::kCancelled, "stopped");
          }
        });
    for (Conclusion& c : some) c.explanation.prune_seconds = seconds_since(start) / static_cast<double>(some.size());  // its share
  }
}

std::vector<Explainer::Outcome> Explainer::explain_batch(std::span<const ExplainInput> inputs, const ExplainSettings& settings,
                                                         const ExplainProgressCallback& progress) {
  std::vector<Outcome> outcomes(inputs.size());
  std::vector<Task> tasks;  // those that go on
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto start = Clock::now();
    try {
      tasks.push_back({static_cast<int64_t>(i), make_problem(classifier_, inputs[i], settings), &outcomes[i]});
      outcomes[i].label = tasks.back().problem.label;
      outcomes[i].p_x = tasks.back().problem.p_x;
    } catch (const Error& e) {
      if (e.code() != ErrorCode::kInvalidArgument) throw;
      outcomes[i].error = std::current_exception();
    }
    outcomes[i].seconds = seconds_since(start);
  }
  const ClassifierShape& shape = classifier_.shape();
  Backend& backend = classifier_.backend();
  backend.restart_peak();
  for (int64_t instance = 0; instance < std::max<int64_t>(1, settings.instances) && !tasks.empty(); ++instance) {
    const Problem& first = tasks[0].problem;
    if (!sets_ || !sets_->serves(first.backgrounds, first.image_index, first.criterion.backgrounds))
      sets_ = std::make_shared<BackgroundSets>(classifier_.backend(), first.backgrounds, first.image_index, first.criterion.backgrounds);
    if (instance > 0)  // does the class still hold on what is left?
      std::erase_if(tasks, [&](const Task& task) {
        const auto start = Clock::now();
        constexpr RandomStream kPrune[] = {RandomStream::kPrune};
        const bool left = count_pixels(task.problem.allowed) > 0 &&
                          FeasibilityChecker(classifier_, task.problem, sets_).feasible(task.problem.allowed, kPrune);
        task.outcome->seconds += seconds_since(start);
        return !left;
      });
    std::vector<Problem> problems;
    for (const Task& task : tasks) problems.push_back(task.problem);
    const auto optimised = method_->run(problems, settings.seed, [&](const Progress& p) {
      return !progress || progress({"optimise", instance, p, p.area, tasks[static_cast<size_t>(p.picture)].picture});
    });
    std::vector<Conclusion> conclusions;
    for (size_t i = 0; i < tasks.size(); ++i) {
      Outcome& outcome = *tasks[i].outcome;
      outcome.seconds += optimised[i].seconds;
      if (optimised[i].failure.empty()) {
        conclusions.push_back({&tasks[i], &optimised[i]});
        continue;
      }
      outcome.error = std::make_exception_ptr(Error(ErrorCode::kInvalidArgument, optimised[i].failure));
      outcome.instances.clear();
    }
    conclude(conclusions, settings, instance, progress);
    std::vector<Task> next;
    for (Conclusion& conclusion : conclusions) {
      Task& task = *conclusion.task;
      Outcome& outcome = *task.outcome;
      Explanation& e = conclusion.explanation;
      outcome.seconds += e.prune_seconds;
      if (instance > 0 && !e.feasible) continue;
      if (task.problem.allowed.empty()) task.problem.allowed.assign(e.mask.size(), 1);
      exclude(task.problem.allowed, e.mask, shape.height, shape.width, settings.instance_margin);
      const bool go_on = e.feasible;
      outcome.instances.push_back(std::move(e));
      if (go_on) next.push_back(std::move(task));
    }
    tasks = std::move(next);
  }
  if (const size_t peak = backend.held_memory().peak; peak > 0)
    for (Outcome& outcome : outcomes)
      for (Explanation& e : outcome.instances) e.memory_bytes = peak / inputs.size();
  return outcomes;
}

Explainer::Outcome Explainer::explain(const ExplainInput& input, const ExplainSettings& settings, const ExplainProgressCallback& progress) {
  Outcome outcome = std::move(explain_batch(std::span(&input, 1), settings, progress).front());
  if (outcome.error) std::rethrow_exception(outcome.error);
  return outcome;
}

}  // namespace actmatch
