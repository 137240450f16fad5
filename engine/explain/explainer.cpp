#include "engine/explain/explainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/core/error.h"

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

Explainer::Explainer(Classifier& classifier, const Recipe& recipe) : classifier_(classifier), optimiser_(classifier, recipe) {}
Explainer::~Explainer() = default;
const std::vector<std::string>& Explainer::tap_names() const { return optimiser_.tap_names(); }

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
                  "the classifier gives NaN or infinite scores on this picture; check the model and the preprocessing");
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

Explainer::Outcome Explainer::explain(const ExplainInput& input, const ExplainSettings& settings, const ExplainProgressCallback& progress) {
  const auto start = Clock::now();
  const ClassifierShape& shape = classifier_.shape();
  Problem problem = make_problem(classifier_, input, settings);
  Outcome outcome;
  outcome.label = problem.label;
  outcome.p_x = problem.p_x;
  for (int64_t instance = 0; instance < std::max<int64_t>(1, settings.instances); ++instance) {
    FeasibilityChecker checker(classifier_, problem);
    if (instance > 0) {  // does the class still hold on what is left?
      if (count_pixels(problem.allowed) == 0) break;
      constexpr RandomStream kPrune[] = {RandomStream::kPrune};
      if (!checker.feasible(problem.allowed, kPrune)) break;
    }
    Explanation e;
    const OptimisedMask optimised = optimiser_.run(problem, settings.seed, [&](const Progress& p) {
      return !progress || progress({"optimise", instance, p, p.area});
    });
    e.soft = optimised.soft;
    e.losses = optimised.losses;
    e.steps = optimised.steps;
    e.passes_per_step = optimised.passes_per_step;
    e.optimise_seconds = optimised.seconds;
    e.memory_bytes = optimised.memory_bytes;

    const auto prune_start = Clock::now();
    std::vector<HardMask> candidates;
    if (!optimised.best.empty()) {
      candidates.push_back(optimised.best);
      if (!problem.allowed.empty())
        for (size_t i = 0; i < candidates[0].size(); ++i) candidates[0][i] &= problem.allowed[i];
    }
    PruneResult pruned = prune_mask(checker, problem, shape, optimised.logits, candidates, settings.prune, [&](double area) {
      return !progress || progress({"prune", instance, {}, area});
    });
    if (instance > 0 && !pruned.feasible) break;
    e.feasible = pruned.feasible;
    e.minimal_tile = pruned.minimal ? settings.prune.tile : 0;
    e.pruned_from_area = pruned.start_area;
    e.mask = std::move(pruned.mask);
    measure(checker, problem, e.mask, e);
    e.prune_seconds = seconds_since(prune_start);
    if (problem.allowed.empty()) problem.allowed.assign(e.mask.size(), 1);
    exclude(problem.allowed, e.mask, shape.height, shape.width, settings.instance_margin);
    const bool go_on = e.feasible;
    outcome.instances.push_back(std::move(e));
    if (!go_on) break;
  }
  outcome.seconds = seconds_since(start);
  return outcome;
}

}  // namespace actmatch
