#include "engine/explain/feasibility.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/backend/kernels.h"
#include "engine/core/error.h"

namespace actmatch {

using kernels::RandomStream;
using kernels::SelectJob;

int64_t count_pixels(const HardMask& mask) { return std::accumulate(mask.begin(), mask.end(), int64_t{0}); }

int64_t needed_backgrounds(double rho, int64_t count) {
  return static_cast<int64_t>(std::ceil(rho * static_cast<double>(count) - 1e-9));  // 0.9 * 30 must not round up to 28
}

FeasibilityChecker::FeasibilityChecker(Classifier& classifier, const Problem& problem, std::shared_ptr<BackgroundSets> sets)
    : classifier_(classifier),
      backend_(classifier.backend()),
      problem_(problem),
      pixels_(problem.pixels(classifier.shape())),
      sets_(std::move(sets)),
      x_(backend_, problem.x),
      colour_(backend_, problem.colour) {
  const int64_t K = problem.criterion.backgrounds;
  if (!sets_) sets_ = std::make_shared<BackgroundSets>(backend_, problem.backgrounds, problem.image_index, K);
  ACTMATCH_CHECK(sets_->serves(problem.backgrounds, problem.image_index, K), "these are another problem's backgrounds");
}

void FeasibilityChecker::take(std::span<const HardMask> masks) {
  std::vector<uint8_t> bytes;
  bytes.reserve(masks.size() * static_cast<size_t>(pixels_));
  for (const HardMask& mask : masks) bytes.insert(bytes.end(), mask.begin(), mask.end());
  const auto count = static_cast<int64_t>(bytes.size());
  if (count > masks_.count()) masks_ = DeviceArray<uint8_t>(backend_, count);
  if (count > 0) masks_.upload(bytes);
}

kernels::SelectSources<float> FeasibilityChecker::prepare(std::span<const SelectJob> jobs) {
  const auto count = static_cast<int64_t>(jobs.size());
  if (count > jobs_.count()) jobs_ = DeviceArray<SelectJob>(backend_, count);
  if (count > 0) jobs_.upload(jobs);
  kernels::SelectSources<float> sources;
  sources.x = x_.data(), sources.colour = colour_.data(), sources.masks = masks_.data();
  for (const SelectJob& job : jobs)
    if (job.set >= 0) sources.sets[job.set] = sets_->get(static_cast<BackgroundSets::Set>(job.set));
  return sources;
}

BaselineCheck FeasibilityChecker::read(const float* logits) const {
  const auto classes = static_cast<size_t>(classifier_.shape().classes);
  const std::span<const float> row(logits, classes);
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

std::vector<BaselineCheck> FeasibilityChecker::check(std::span<const SelectJob> jobs, bool complement) {
  const auto count = static_cast<int64_t>(jobs.size());
  const int64_t classes = classifier_.shape().classes;
  const kernels::SelectSources<float> sources = prepare(jobs);
  std::vector<float> logits(static_cast<size_t>(count * classes));
  classifier_.logits_of(logits.data(), count, [&](float* input, int64_t first, int64_t n) {
    backend_.kernels().select_compose(input, sources, jobs_.data() + first, complement, n, classifier_.shape().channels, pixels_);
  });
  std::vector<BaselineCheck> checks;
  for (int64_t i = 0; i < count; ++i) checks.push_back(read(logits.data() + i * classes));
  return checks;
}

std::vector<BaselineCheck> FeasibilityChecker::on_colour(std::span<const HardMask> masks, bool complement) {
  take(masks);
  std::vector<SelectJob> jobs(masks.size());
  for (size_t i = 0; i < jobs.size(); ++i) jobs[i].mask = static_cast<int32_t>(i);
  return check(jobs, complement);
}

std::vector<BaselineCheck> FeasibilityChecker::baseline(std::span<const HardMask> masks) { return on_colour(masks, false); }
std::vector<BaselineCheck> FeasibilityChecker::complement(std::span<const HardMask> masks) { return on_colour(masks, true); }

std::vector<BaselineCheck> FeasibilityChecker::on_set(const HardMask& mask, BackgroundSets::Set set) {
  take(std::span(&mask, 1));
  std::vector<SelectJob> jobs;
  for (int64_t i = 0; i < problem_.criterion.backgrounds; ++i) jobs.push_back({0, set, static_cast<int32_t>(i)});
  return check(jobs);
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

std::vector<bool> FeasibilityChecker::feasible(std::span<const HardMask> masks, std::span<const RandomStream> streams,
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
    std::vector<size_t> stream_of;
    for (size_t i = 0; i < masks.size(); ++i)
      if (good[i])
        for (int64_t k = 0; k < chunk; ++k) {
          const int64_t background = order[static_cast<size_t>(start + k)];
          stream_of.push_back(static_cast<size_t>(background / K));
          jobs.push_back({static_cast<int32_t>(i), BackgroundSets::of(streams[stream_of.back()]), static_cast<int32_t>(background % K)});
        }
    if (jobs.empty()) break;
    const auto checks = check(jobs);  // of the masks that baseline() has taken
    for (size_t j = 0; j < jobs.size(); ++j) {
      if (checks[j].top == problem_.label) continue;
      const auto mask = static_cast<size_t>(jobs[j].mask);
      if (++failures[mask][stream_of[j]] > allowed) good[mask] = false;
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

std::vector<float> FeasibilityChecker::spare_odds(std::span<const HardMask> masks, std::span<const int64_t> backgrounds, float cap) {
  const size_t each = backgrounds.size() + 1;
  take(masks);
  std::vector<SelectJob> jobs;
  for (size_t i = 0; i < masks.size(); ++i) {
    jobs.push_back({static_cast<int32_t>(i), -1, 0});
    for (int64_t number : backgrounds) jobs.push_back({static_cast<int32_t>(i), BackgroundSets::kPrune, static_cast<int32_t>(number)});
  }
  const auto checks = check(jobs);
  std::vector<float> spare(masks.size(), 0.0f);
  for (size_t j = 0; j < checks.size(); ++j) spare[j / each] += std::min(cap, checks[j].log_odds) / static_cast<float>(each);
  return spare;
}

void FeasibilityChecker::back_from_logits(Classifier::Training& net, const kernels::SelectSources<float>& sources, const SelectJob* jobs,
                                          int64_t n, const std::function<void(std::span<float>)>& gradient_of) {
  const auto classes = static_cast<size_t>(classifier_.shape().classes);
  const auto rows = static_cast<size_t>(net.graph.value(net.ends.input).shape[0]);
  backend_.kernels().select_compose(net.program->data(net.ends.input), sources, jobs, false, n, classifier_.shape().channels, pixels_);
  net.program->forward();
  classifier_.count_images(n);
  std::vector<float> z(rows * classes);
  backend_.download(z.data(), net.program->data(net.ends.logits), z.size());
  for (size_t i = 0; i < rows; ++i) {
    const auto row = std::span(z).subspan(i * classes, classes);
    if (i < static_cast<size_t>(n))
      gradient_of(row);
    else
      std::fill(row.begin(), row.end(), 0.0f);
  }
  backend_.upload(net.program->gradient(net.ends.logits), z.data(), z.size());
  net.program->backward();
}

std::vector<float> FeasibilityChecker::importance(const HardMask& mask, RandomStream stream, std::span<const int64_t> numbers) {
  const int64_t batch = std::min<int64_t>(8, classifier_.max_batch());
  Classifier::Training& net = classifier_.gradient_program(batch);
  std::vector<SelectJob> jobs;
  for (int64_t number : numbers) jobs.push_back({0, BackgroundSets::of(stream), static_cast<int32_t>(number)});
  if (jobs.empty())
    for (int64_t k = 0; k < problem_.criterion.backgrounds; ++k) jobs.push_back({0, BackgroundSets::of(stream), static_cast<int32_t>(k)});
  take(std::span(&mask, 1));
  const kernels::SelectSources<float> sources = prepare(jobs);
  if (gain_.count() == 0) gain_ = DeviceBuffer(backend_, pixels_);
  const auto count = static_cast<int64_t>(jobs.size());
  for (int64_t first = 0; first < count; first += batch) {
    const int64_t n = std::min(batch, count - first);
    back_from_logits(net, sources, jobs_.data() + first, n, [&](std::span<float> row) {  // d -log p_y / dz
      const auto p = softmax(row);
      std::copy(p.begin(), p.end(), row.begin());
      row[static_cast<size_t>(problem_.label)] -= 1.0f;
    });
    backend_.kernels().select_gain(gain_.data(), net.program->gradient(net.ends.input), sources, jobs_.data() + first, -1.0f, true, n,
                                   classifier_.shape().channels, pixels_, first > 0);
  }
  return gain_.download();
}

std::vector<float> FeasibilityChecker::odds_gain(const HardMask& mask) {
  Classifier::Training& net = classifier_.gradient_program(1);
  const SelectJob job;
  take(std::span(&mask, 1));
  const kernels::SelectSources<float> sources = prepare(std::span(&job, 1));
  if (gain_.count() == 0) gain_ = DeviceBuffer(backend_, pixels_);
  back_from_logits(net, sources, jobs_.data(), 1, [&](std::span<float> row) {
    const auto label = static_cast<size_t>(problem_.label);
    row[label] = -INFINITY;
    const std::vector<float> rivals = softmax(row);  // of the rivals alone
    for (size_t k = 0; k < row.size(); ++k) row[k] = -rivals[k];
    row[label] = 1.0f;
  });
  backend_.kernels().select_gain(gain_.data(), net.program->gradient(net.ends.input), sources, jobs_.data(), 1.0f, false, 1,
                                 classifier_.shape().channels, pixels_, false);
  return gain_.download();
}

bool FeasibilityChecker::feasible(const HardMask& mask, std::span<const RandomStream> streams) {
  return feasible(std::span<const HardMask>(&mask, 1), streams).front();
}

}  // namespace actmatch
