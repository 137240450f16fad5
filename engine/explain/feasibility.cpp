#include "engine/explain/feasibility.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/error.h"

namespace actmatch {

using kernels::RandomStream;

int64_t count_pixels(const HardMask& mask) { return std::accumulate(mask.begin(), mask.end(), int64_t{0}); }

int64_t needed_backgrounds(double rho, int64_t count) {
  return static_cast<int64_t>(std::ceil(rho * static_cast<double>(count) - 1e-9));  // 0.9 * 30 must not round up to 28
}

FeasibilityChecker::FeasibilityChecker(Classifier& classifier, const Problem& problem)
    : classifier_(classifier), problem_(problem), pixels_(problem.pixels(classifier.shape())), sets_(3) {
  const int64_t channels = classifier.shape().channels;
  colour_image_.resize(static_cast<size_t>(channels * pixels_));
  for (int64_t c = 0; c < channels; ++c) std::fill_n(colour_image_.begin() + c * pixels_, pixels_, problem.colour[static_cast<size_t>(c)]);
}

const std::vector<float>& FeasibilityChecker::background_set(RandomStream stream) {
  auto& set = sets_.at(static_cast<size_t>(stream));
  if (set.empty()) {
    set.resize(static_cast<size_t>(problem_.criterion.backgrounds * classifier_.image_floats()));
    kernels::random_background_ref(set.data(), problem_.backgrounds, stream, problem_.image_index, 0, problem_.criterion.backgrounds);
  }
  return set;
}

void FeasibilityChecker::compose(float* out, const HardMask& mask, const float* background, bool complement) const {
  const int64_t channels = classifier_.shape().channels;
  const uint8_t shown = complement ? 0 : 1;
  for (int64_t c = 0; c < channels; ++c) {
    const float *x = problem_.x.data() + c * pixels_, *b = background + c * pixels_;
    float* o = out + c * pixels_;
    for (int64_t i = 0; i < pixels_; ++i) o[i] = mask[static_cast<size_t>(i)] == shown ? x[i] : b[i];
  }
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

std::vector<BaselineCheck> FeasibilityChecker::check(int64_t count, const std::function<void(float*, int64_t)>& compose_one) {
  const int64_t classes = classifier_.shape().classes, size = classifier_.image_floats();
  std::vector<float> logits(static_cast<size_t>(count * classes));
  classifier_.logits_of(logits.data(), count, [&](float* input, int64_t first, int64_t n) {
    std::vector<float> images(static_cast<size_t>(n * size));
    for (int64_t i = 0; i < n; ++i) compose_one(images.data() + i * size, first + i);
    classifier_.backend().upload(input, images.data(), images.size());
  });
  std::vector<BaselineCheck> checks;
  for (int64_t i = 0; i < count; ++i) checks.push_back(read(logits.data() + i * classes));
  return checks;
}

std::vector<BaselineCheck> FeasibilityChecker::on_colour(std::span<const HardMask> masks, bool complement) {
  return check(static_cast<int64_t>(masks.size()),
               [&](float* image, int64_t i) { compose(image, masks[static_cast<size_t>(i)], colour_image_.data(), complement); });
}

std::vector<BaselineCheck> FeasibilityChecker::baseline(std::span<const HardMask> masks) { return on_colour(masks, false); }
std::vector<BaselineCheck> FeasibilityChecker::complement(std::span<const HardMask> masks) { return on_colour(masks, true); }

std::vector<BaselineCheck> FeasibilityChecker::on_backgrounds(const HardMask& mask, const std::vector<float>& set) {
  const int64_t size = classifier_.image_floats();
  return check(problem_.criterion.backgrounds, [&](float* image, int64_t i) { compose(image, mask, set.data() + i * size, false); });
}

std::vector<float> FeasibilityChecker::margins(const HardMask& mask, RandomStream stream) {
  std::vector<float> margins;
  for (const BaselineCheck& check : on_backgrounds(mask, background_set(stream))) margins.push_back(check.margin);
  return margins;
}

int64_t FeasibilityChecker::count_held(const std::vector<BaselineCheck>& checks) const {
  return std::count_if(checks.begin(), checks.end(), [&](const BaselineCheck& check) { return check.top == problem_.label; });
}

int64_t FeasibilityChecker::held(const HardMask& mask, RandomStream stream) {
  return count_held(on_backgrounds(mask, background_set(stream)));
}

int64_t FeasibilityChecker::held_fresh(const HardMask& mask) {
  const int64_t K = problem_.criterion.backgrounds;
  std::vector<float> set(static_cast<size_t>(K * classifier_.image_floats()));
  kernels::random_background_ref(set.data(), problem_.backgrounds, RandomStream::kCertify, problem_.image_index, static_cast<uint32_t>(K),
                                 K);
  return count_held(on_backgrounds(mask, set));
}

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
  const int64_t size = classifier_.image_floats();
  // In chunks of backgrounds: masks that have failed too often already are left out of the next chunk. With a hint the first chunk is just
  // long enough to refuse a mask, and decides most of them.
  for (int64_t start = 0; start < total;) {
    const int64_t wanted = start == 0 && !hint.empty() ? allowed + 2 : std::max<int64_t>(2 * (allowed + 1), 8);
    const int64_t chunk = std::min<int64_t>(total - start, wanted);
    struct Job {
      size_t mask;
      int64_t background;
    };
    std::vector<Job> jobs;
    for (size_t i = 0; i < masks.size(); ++i)
      if (good[i])
        for (int64_t k = 0; k < chunk; ++k) jobs.push_back({i, order[static_cast<size_t>(start + k)]});
    if (jobs.empty()) break;
    const auto checks = check(static_cast<int64_t>(jobs.size()), [&](float* image, int64_t j) {
      const auto& [mask, background] = jobs[static_cast<size_t>(j)];
      compose(image, masks[mask], background_set(streams[static_cast<size_t>(background / K)]).data() + (background % K) * size, false);
    });
    for (size_t j = 0; j < jobs.size(); ++j) {
      if (checks[j].top == problem_.label) continue;
      auto& count = failures[jobs[j].mask][static_cast<size_t>(jobs[j].background / K)];
      if (++count > allowed) good[jobs[j].mask] = false;
    }
    start += chunk;
  }
  return good;
}

std::vector<float> FeasibilityChecker::margins_if_feasible(const HardMask& mask, RandomStream stream, std::span<const int64_t> order) {
  const RandomStream streams[] = {stream};
  const auto first = static_cast<size_t>(refuting_count());
  if (order.size() > first && !feasible(std::span(&mask, 1), streams, order.first(first)).front()) return {};
  const auto checks = on_backgrounds(mask, background_set(stream));
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
  const int64_t size = classifier_.image_floats(), each = static_cast<int64_t>(backgrounds.size()) + 1;
  const std::vector<float>& set = background_set(RandomStream::kPrune);
  const auto checks = check(static_cast<int64_t>(masks.size()) * each, [&](float* image, int64_t job) {
    const int64_t which = job % each;
    const float* background = which == 0 ? colour_image_.data() : set.data() + backgrounds[static_cast<size_t>(which - 1)] * size;
    compose(image, masks[static_cast<size_t>(job / each)], background, false);
  });
  std::vector<float> spare(masks.size(), 0.0f);
  for (size_t j = 0; j < checks.size(); ++j)
    spare[j / static_cast<size_t>(each)] += std::min(cap, checks[j].log_odds) / static_cast<float>(each);
  return spare;
}

std::vector<float> FeasibilityChecker::importance(const HardMask& mask, RandomStream stream, std::span<const int64_t> numbers) {
  constexpr int64_t kBatch = 8;
  Classifier::Training& net = classifier_.gradient_program(kBatch);
  const std::vector<float>& set = background_set(stream);
  const int64_t K = problem_.criterion.backgrounds, classes = classifier_.shape().classes, size = classifier_.image_floats(),
                channels = classifier_.shape().channels;
  std::vector<float> worth(static_cast<size_t>(pixels_), 0.0f), images(static_cast<size_t>(kBatch * size)), gradient(images.size());
  std::vector<float> z(static_cast<size_t>(kBatch * classes)), dz(z.size());
  std::vector<int64_t> chosen(numbers.begin(), numbers.end());
  if (chosen.empty()) {
    chosen.resize(static_cast<size_t>(K));
    std::iota(chosen.begin(), chosen.end(), 0);
  }
  const auto count = static_cast<int64_t>(chosen.size());
  const auto background = [&](int64_t i) { return set.data() + chosen[static_cast<size_t>(i)] * size; };
  for (int64_t first = 0; first < count; first += kBatch) {
    const int64_t n = std::min(kBatch, count - first);
    for (int64_t i = 0; i < n; ++i) compose(images.data() + i * size, mask, background(first + i), false);
    classifier_.backend().upload(net.program->data(net.ends.input), images.data(), images.size());
    net.program->forward();
    classifier_.count_images(n);
    classifier_.backend().download(z.data(), net.program->data(net.ends.logits), z.size());
    std::fill(dz.begin(), dz.end(), 0.0f);
    for (int64_t i = 0; i < n; ++i) {
      const auto p = softmax(std::span<const float>(z).subspan(static_cast<size_t>(i * classes), static_cast<size_t>(classes)));
      for (int64_t c = 0; c < classes; ++c)
        dz[static_cast<size_t>(i * classes + c)] = p[static_cast<size_t>(c)] - (c == problem_.label ? 1.0f : 0.0f);
    }
    classifier_.backend().upload(net.program->gradient(net.ends.logits), dz.data(), dz.size());
    net.program->backward();
    classifier_.backend().download(gradient.data(), net.program->gradient(net.ends.input), gradient.size());
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < channels; ++c) {
        const float *g = gradient.data() + i * size + c * pixels_, *x = problem_.x.data() + c * pixels_,
                    *b = background(first + i) + c * pixels_;
        for (int64_t k = 0; k < pixels_; ++k)
          if (mask[static_cast<size_t>(k)]) worth[static_cast<size_t>(k)] -= g[k] * (x[k] - b[k]);
      }
  }
  return worth;
}

std::vector<float> FeasibilityChecker::odds_gain(const HardMask& mask) {
  Classifier::Training& net = classifier_.gradient_program(1);
  const int64_t classes = classifier_.shape().classes, size = classifier_.image_floats(), channels = classifier_.shape().channels;
  std::vector<float> image(static_cast<size_t>(size)), gradient(image.size()), z(static_cast<size_t>(classes)),
      worth(static_cast<size_t>(pixels_), 0.0f);
  compose(image.data(), mask, colour_image_.data(), false);
  classifier_.backend().upload(net.program->data(net.ends.input), image.data(), image.size());
  net.program->forward();
  classifier_.count_images(1);
  classifier_.backend().download(z.data(), net.program->data(net.ends.logits), z.size());
  const auto label = static_cast<size_t>(problem_.label);
  z[label] = -INFINITY;
  std::vector<float> dz = softmax(z);  // of the rivals alone
  for (float& d : dz) d = -d;
  dz[label] = 1.0f;
  classifier_.backend().upload(net.program->gradient(net.ends.logits), dz.data(), dz.size());
  net.program->backward();
  classifier_.backend().download(gradient.data(), net.program->gradient(net.ends.input), gradient.size());
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t i = 0; i < pixels_; ++i) {
      const auto k = static_cast<size_t>(c * pixels_ + i);
      worth[static_cast<size_t>(i)] += gradient[k] * (problem_.x[k] - colour_image_[k]);
    }
  return worth;
}

bool FeasibilityChecker::feasible(const HardMask& mask, std::span<const RandomStream> streams) {
  return feasible(std::span<const HardMask>(&mask, 1), streams).front();
}

}  // namespace actmatch
