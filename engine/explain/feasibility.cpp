#include "engine/explain/feasibility.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/error.h"

namespace actmatch {

using kernels::RandomStream;
using kernels::SelectJob;

int64_t count_pixels(const HardMask& mask) { return std::accumulate(mask.begin(), mask.end(), int64_t{0}); }

int64_t needed_backgrounds(double rho, int64_t count) {
  return static_cast<int64_t>(std::ceil(rho * static_cast<double>(count) - 1e-9));  // 0.9 * 30 must not round up to 28
}

FeasibilityChecker::FeasibilityChecker(Classifier& classifier, const Problem& problem, std::shared_ptr<BackgroundSets> sets)
    : problem_(problem), picture_(classifier.backend(), problem, std::move(sets)), at_once_(classifier) {}

BaselineCheck FeasibilityChecker::read(std::span<const float> row) const {
  const size_t classes = row.size();
  BaselineCheck check;
  const auto label = static_cast<size_t>(problem_.label);
  float rival = -INFINITY;
  for (size_t k = 0; k < classes; ++k)
    if (k != label) rival = std::max(rival, row[k]);
  check.top = argmax(row);
  check.margin = row[label] - rival;
  double others = 0;
  for (size_t k = 0; k < classes; ++k)
    if (k != label) others += std::exp(static_cast<double>(row[k]) - rival);
  check.log_odds = static_cast<float>(check.margin - std::log(others));
  check.p_label = softmax(row)[label];
  // The hair above tau keeps a claim true when another machine rounds differently; the picture itself is sufficient also for tau = 1.
  const double threshold = std::min(problem_.criterion.tau * (1.0 + 1e-4), 1.0 - 1e-5);
  check.sufficient = check.top == problem_.label && check.p_label >= threshold * problem_.p_x;
  return check;
}

std::vector<BaselineCheck> FeasibilityChecker::check(std::span<const SelectJob> jobs, std::span<const HardMask> masks, bool complement) {
  if (jobs.empty()) return {};
  MaskedQuestion question;
  question.picture = &picture_;
  question.masks = masks;
  question.jobs = jobs;
  question.complement = complement;
  answers_->answer(question);
  const std::span<const float> logits = question.answer;
  const size_t classes = logits.size() / jobs.size();
  std::vector<BaselineCheck> checks;
  for (size_t i = 0; i < jobs.size(); ++i) checks.push_back(read(logits.subspan(i * classes, classes)));
  return checks;
}

std::vector<BaselineCheck> FeasibilityChecker::on_colour(const Candidates& masks, bool complement) {
  std::vector<SelectJob> jobs;
  for (size_t i = 0; i < masks.size(); ++i) jobs.push_back(masks.job(i));
  return check(jobs, masks.masks(), complement);
}

std::vector<BaselineCheck> FeasibilityChecker::baseline(const Candidates& masks) { return on_colour(masks, false); }
std::vector<BaselineCheck> FeasibilityChecker::complement(const Candidates& masks) { return on_colour(masks, true); }

std::vector<BaselineCheck> FeasibilityChecker::on_set(const HardMask& mask, BackgroundSets::Set set) {
  std::vector<SelectJob> jobs;
  for (int64_t i = 0; i < problem_.criterion.backgrounds; ++i) jobs.push_back({0, set, static_cast<int32_t>(i), {}});
  return check(jobs, std::span(&mask, 1));
}

std::vector<float> FeasibilityChecker::margins(const HardMask& mask, RandomStream stream) {
  std::vector<float> margins;
  for (const BaselineCheck& check : on_set(mask, BackgroundSets::of(stream))) margins.push_back(check.margin);
  return margins;
}

int64_t FeasibilityChecker::count_held(const std::vector<BaselineCheck>& checks) const {
  return std::count_if(checks.begin(), checks.end(), [&](const BaselineCheck& check) { return check.top == problem_.label; });
}

int64_t FeasibilityChecker::held(const HardMask& mask, RandomStream stream) { return count_held(on_set(mask, BackgroundSets::of(stream))); }

int64_t FeasibilityChecker::held_fresh(const HardMask& mask) { return count_held(on_set(mask, BackgroundSets::kFresh)); }

std::vector<int64_t> FeasibilityChecker::critical_order(const HardMask& mask, std::span<const RandomStream> streams) {
  std::vector<float> all;
  for (RandomStream s : streams) {
    const auto m = margins(mask, s);
    all.insert(all.end(), m.begin(), m.end());
  }
  std::vector<int64_t> order(all.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return all[static_cast<size_t>(a)] < all[static_cast<size_t>(b)]; });
  return order;
}

std::vector<bool> FeasibilityChecker::feasible(const Candidates& masks, std::span<const RandomStream> streams,
                                               std::span<const int64_t> hint, int64_t spare) {
  const auto base = baseline(masks);
  std::vector<bool> good(masks.size());
  for (size_t i = 0; i < masks.size(); ++i) good[i] = base[i].sufficient;
  if (!problem_.criterion.robust || streams.empty()) return good;

  const int64_t K = problem_.criterion.backgrounds;
  const int64_t allowed = std::max<int64_t>(0, K - needed_backgrounds(problem_.criterion.rho, K) - spare);  // failures a stream may have
  std::vector<int64_t> order(hint.begin(), hint.end());
  if (order.empty()) {
    order.resize(static_cast<size_t>(K) * streams.size());
    std::iota(order.begin(), order.end(), 0);
  }
  const auto total = static_cast<int64_t>(order.size());
  std::vector<std::vector<int64_t>> failures(masks.size(), std::vector<int64_t>(streams.size(), 0));
  // In chunks of backgrounds: masks that have failed too often already are left out of the next chunk. With a hint the first chunk is just
  // long enough to refuse a mask, and decides most of them.
  for (int64_t start = 0; start < total;) {
    const int64_t wanted = start == 0 && !hint.empty() ? allowed + 2 : std::max<int64_t>(2 * (allowed + 1), 8);
    const int64_t chunk = std::min<int64_t>(total - start, wanted);
    std::vector<SelectJob> jobs;
    std::vector<size_t> mask_of, stream_of;
    for (size_t i = 0; i < masks.size(); ++i)
      if (good[i])
        for (int64_t k = 0; k < chunk; ++k) {
          const int64_t background = order[static_cast<size_t>(start + k)];
          mask_of.push_back(i);
          stream_of.push_back(static_cast<size_t>(background / K));
          jobs.push_back(masks.job(i));
          jobs.back().set = BackgroundSets::of(streams[stream_of.back()]);
          jobs.back().background = static_cast<int32_t>(background % K);
        }
    if (jobs.empty()) break;
    const auto checks = check(jobs, {});  // of the masks that baseline() has taken
    for (size_t j = 0; j < jobs.size(); ++j) {
      if (checks[j].top == problem_.label) continue;
      if (++failures[mask_of[j]][stream_of[j]] > allowed) good[mask_of[j]] = false;
    }
    start += chunk;
  }
  return good;
}

std::vector<float> FeasibilityChecker::margins_if_feasible(const HardMask& mask, RandomStream stream, std::span<const int64_t> order) {
  const RandomStream streams[] = {stream};
  const auto first = static_cast<size_t>(refuting_count());
  if (order.size() > first && !feasible(std::span(&mask, 1), streams, order.first(first)).front()) return {};
  const auto checks = on_set(mask, BackgroundSets::of(stream));
  if (count_held(checks) < needed_backgrounds(problem_.criterion.rho, problem_.criterion.backgrounds)) return {};
  if (order.size() <= first && !baseline(std::span(&mask, 1)).front().sufficient) return {};
  std::vector<float> margins;
  for (const BaselineCheck& c : checks) margins.push_back(c.margin);
  return margins;
}

int64_t FeasibilityChecker::refuting_count() const {
  const int64_t K = problem_.criterion.backgrounds;
  return K - needed_backgrounds(problem_.criterion.rho, K) + 2;
}

std::vector<float> FeasibilityChecker::spare_odds(const Candidates& masks, std::span<const int64_t> backgrounds, float cap) {
  const size_t each = backgrounds.size() + 1;
  std::vector<SelectJob> jobs;
  for (size_t i = 0; i < masks.size(); ++i) {
    SelectJob job = masks.job(i);
    jobs.push_back(job);
    job.set = BackgroundSets::kPrune;
    for (int64_t number : backgrounds) {
      job.background = static_cast<int32_t>(number);
      jobs.push_back(job);
    }
  }
  const auto checks = check(jobs, masks.masks());
  std::vector<float> spare(masks.size(), 0.0f);
  for (size_t j = 0; j < checks.size(); ++j) spare[j / each] += std::min(cap, checks[j].log_odds) / static_cast<float>(each);
  return spare;
}

std::vector<float> FeasibilityChecker::importance(const HardMask& mask, RandomStream stream, std::span<const int64_t> numbers) {
  std::vector<SelectJob> jobs;
  for (int64_t number : numbers) jobs.push_back({0, BackgroundSets::of(stream), static_cast<int32_t>(number), {}});
  if (jobs.empty())
    for (int64_t k = 0; k < problem_.criterion.backgrounds; ++k)
      jobs.push_back({0, BackgroundSets::of(stream), static_cast<int32_t>(k), {}});
  MaskedQuestion question;
  question.picture = &picture_;
  question.masks = std::span(&mask, 1);
  question.jobs = jobs;
  question.gradient_of = [&](std::span<float> row) {  // d -log p_y / dz
    const auto p = softmax(row);
    std::copy(p.begin(), p.end(), row.begin());
    row[static_cast<size_t>(problem_.label)] -= 1.0f;
  };
  question.sign = -1.0f;
  question.inside = true;
  answers_->answer(question);
  return std::move(question.answer);
}

std::vector<float> FeasibilityChecker::odds_gain(const HardMask& mask) {
  const SelectJob job;
  MaskedQuestion question;
  question.picture = &picture_;
  question.masks = std::span(&mask, 1);
  question.jobs = std::span(&job, 1);
  question.gradient_of = [&](std::span<float> row) {
    const auto label = static_cast<size_t>(problem_.label);
    row[label] = -INFINITY;
    const std::vector<float> rivals = softmax(row);  // of the rivals alone
    for (size_t k = 0; k < row.size(); ++k) row[k] = -rivals[k];
    row[label] = 1.0f;
  };
  answers_->answer(question);
  return std::move(question.answer);
}

bool FeasibilityChecker::feasible(const HardMask& mask, std::span<const RandomStream> streams) {
  return feasible(Candidates(std::span(&mask, 1)), streams).front();
}

}  // namespace actmatch
