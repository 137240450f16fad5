// The objective by its definition, composed by hand: the classifier is run by itself, one image at a time, and every formula is evaluated
// in double.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/explain/optimise.h"
#include "tests/explain/explain_test_util.h"

namespace actmatch::test {

using kernels::RandomStream;
using kernels::TapDistance;
using Terms = std::map<std::string, double>;

inline constexpr int64_t kSize = 8, kPixels = kSize * kSize;
inline constexpr uint64_t kSeed = 3;

inline double distance_of(TapDistance kind, const std::vector<double>& a, const std::vector<double>& v, int64_t channels) {
  const auto C = static_cast<size_t>(channels), P = a.size() / C;
  const auto column = [&](const std::vector<double>& m, size_t i) {
    std::vector<double> out;
    for (size_t c = 0; c < C; ++c) out.push_back(m[c * P + i]);
    return out;
  };
  const auto row = [&](const std::vector<double>& m, size_t c) {
    return std::vector<double>(m.begin() + static_cast<std::ptrdiff_t>(c * P), m.begin() + static_cast<std::ptrdiff_t>((c + 1) * P));
  };
  double sum = 0;
  switch (kind) {
    case TapDistance::kKlChannels:
      for (size_t i = 0; i < P; ++i) sum += kl_of(softmax_of(column(a, i)), softmax_of(column(v, i)));
      return sum / static_cast<double>(P);
    case TapDistance::kKlPositions:
      for (size_t c = 0; c < C; ++c) sum += kl_of(softmax_of(row(a, c)), softmax_of(row(v, c)));
      return sum / static_cast<double>(C);
    case TapDistance::kCosine:
      for (size_t i = 0; i < P; ++i) {
        double av = 0, aa = 0, vv = 0;
        for (size_t c = 0; c < C; ++c)
          av += a[c * P + i] * v[c * P + i], aa += a[c * P + i] * a[c * P + i], vv += v[c * P + i] * v[c * P + i];
        sum += aa > 0 && vv > 0 ? av / std::sqrt(aa * vv) : 0;
      }
      return 1 - sum / static_cast<double>(P);
    case TapDistance::kMse: {
      double scale = 0;
      for (size_t i = 0; i < a.size(); ++i) sum += (v[i] - a[i]) * (v[i] - a[i]), scale += a[i] * a[i];
      return sum / scale;
    }
    case TapDistance::kStandardisedMse: {
      const auto standardised = [](std::vector<double> m) {
        double mean = 0, square = 0;
        for (double x : m) mean += x / static_cast<double>(m.size());
        for (double x : m) square += (x - mean) * (x - mean) / static_cast<double>(m.size());
        for (double& x : m) x = (x - mean) / (std::sqrt(square) + 1e-6);
        return m;
      };
      for (size_t c = 0; c < C; ++c) {
        const auto p = standardised(row(a, c)), q = standardised(row(v, c));
        for (size_t i = 0; i < P; ++i) sum += (p[i] - q[i]) * (p[i] - q[i]);
      }
      return sum / static_cast<double>(a.size());
    }
  }
  return NAN;
}

inline double variation(const std::vector<double>& m, int neighbours) {
  double total = 0;
  const auto direction = [&](int64_t dy, int64_t dx, double weight) {
    double sum = 0;
    int64_t pairs = 0;
    for (int64_t y = 0; y < kSize; ++y)
      for (int64_t x = 0; x < kSize; ++x) {
        if (y + dy >= kSize || x + dx >= kSize || x + dx < 0) continue;
        sum += std::abs(m[static_cast<size_t>((y + dy) * kSize + x + dx)] - m[static_cast<size_t>(y * kSize + x)]);
        ++pairs;
      }
    total += weight * sum / static_cast<double>(pairs);
  };
  direction(0, 1, 1), direction(1, 0, 1);
  if (neighbours == 8) direction(1, 1, std::sqrt(0.5)), direction(1, -1, std::sqrt(0.5));
  return total;
}

// The picture under a Gaussian that ends at three sigma and goes on beyond the border as at it; in two dimensions at once.
inline std::vector<float> blurred_image(const Problem& p, double sigma) {
  const auto radius = static_cast<int64_t>(std::ceil(3 * sigma));
  std::vector<float> image(p.x.size());
  for (size_t i = 0; i < image.size(); ++i) {
    const auto pixel = static_cast<int64_t>(i % kPixels), row = pixel / kSize, column = pixel % kSize;
    double sum = 0, weights = 0;
    for (int64_t v = row - radius; v <= row + radius; ++v)
      for (int64_t u = column - radius; u <= column + radius; ++u) {
        const double weight = std::exp(-0.5 * static_cast<double>((v - row) * (v - row) + (u - column) * (u - column)) / (sigma * sigma));
        const int64_t from = std::clamp<int64_t>(v, 0, kSize - 1) * kSize + std::clamp<int64_t>(u, 0, kSize - 1);
        sum += weight * p.x[i - static_cast<size_t>(pixel) + static_cast<size_t>(from)];
        weights += weight;
      }
    image[i] = static_cast<float>(sum / weights);
  }
  return image;
}

// The classifier of these tests, a picture, and the objective by its definition.
struct ObjectiveBench {
  GraphSource source;
  Classifier classifier;
  Problem problem;
  Probe probe;
  std::vector<std::vector<double>> taps_x;
  std::vector<double> z_x;

  explicit ObjectiveBench(UnaryKind activation = UnaryKind::kRelu)
      : source(conv_classifier(kSize, activation)),
        classifier(cpu(), source),
        problem(problem_for(classifier, telling_picture(source, 0.1f), 0.1f)),
        probe(source, {"early", "late"}) {
    z_x = probe.logits(problem.x);
    taps_x = {probe.tap(0), probe.tap(1)};
  }

  // Terms that see the composed images: `shown` is the mask that composes.
  Terms image_terms(const Recipe& r, const std::vector<double>& shown, int64_t step) {
    const auto y = static_cast<size_t>(problem.label);
    Terms t;
    const auto z = probe.logits(blend(problem.x, shown, colour_image(problem)));
    for (size_t i = 0; i < 2; ++i) {
      const auto pick = [&](const auto& list) { return list[std::min(i, list.size() - 1)]; };
      t["act"] += pick(r.taps.weights) * distance_of(pick(r.taps.distances), taps_x[i], probe.tap(i), probe.tap_channels(i));
    }
    const auto kl = [&](const std::vector<double>& row) {
      return r.kl_temperature * r.kl_temperature * kl_of(softmax_of(z_x, r.kl_temperature), softmax_of(row, r.kl_temperature));
    };
    const auto ce = [&](const std::vector<double>& row) { return -std::log(softmax_of(row)[y]); };
    const auto margin = [&](const std::vector<double>& row) { return std::max(0.0, r.margin - margin_of(row, problem.label)); };
    t["kl"] = kl(z), t["ce"] = ce(z), t["margin"] = margin(z);
    std::vector<std::vector<float>> backgrounds;
    for (int64_t b = 0; b < r.robust_backgrounds; ++b)
      backgrounds.push_back(background_image(problem, RandomStream::kOptimise, step * r.robust_backgrounds + b));
    if (r.robust_blur > 0) backgrounds.push_back(blurred_image(problem, r.robust_blur));
    for (const auto& background : backgrounds) {
      const auto row = probe.logits(blend(problem.x, shown, background));
      const double value = r.robust_form == RobustForm::kCrossEntropy ? ce(row) : r.robust_form == RobustForm::kKl ? kl(row) : margin(row);
      t["rob"] += value / static_cast<double>(backgrounds.size());
    }
    std::vector<double> rest;
    for (double k : shown) rest.push_back(1 - k);
    const auto c = probe.logits(blend(problem.x, rest, colour_image(problem)));
    t["nec"] =
        r.necessity_form == NecessityForm::kHinge ? std::max(0.0, r.necessity_margin - (z_x[y] - c[y])) : -std::log(1 - softmax_of(c)[y]);
    return t;
  }
  Terms mask_terms(const Recipe& r, const std::vector<double>& soft) const {
    Terms t;
    for (double m : soft) t["area"] += m / kPixels, t["bin"] += m * (1 - m) / kPixels;
    t["tv"] = variation(soft, r.tv_neighbours);
    return t;
  }
};

inline std::map<std::string, double> weights_of(const Recipe& r) {
  const LossWeights& w = r.weights;
  return {{"act", w.act}, {"kl", w.kl}, {"ce", w.ce},   {"margin", w.margin}, {"area", w.area},
          {"bin", w.bin}, {"tv", w.tv}, {"rob", w.rob}, {"nec", w.nec}};
}

inline const std::vector<float>& trace(const OptimisedMask& mask, const std::string& term) {
  for (const TermTrace& t : mask.losses)
    if (t.term == term) return t.values;
  ADD_FAILURE() << "no term " << term;
  static const std::vector<float> none(100, NAN);
  return none;
}

// A recipe whose masks stand still: the net's first logits at every step.
inline Recipe still_recipe() {
  Recipe r;
  r.name = "test";
  r.generator = {GeneratorKind::kCsae, 8, true, 0.0f};
  r.steps = 2;
  r.learning_rate = 0;
  r.taps.distances = {TapDistance::kCosine};
  r.taps.weights = {1.0};
  r.area = {true, 0.5, 0.25, 1.0, 0.97, 1.03, 0.5, 0.05};
  return r;
}

// s = g(x), from the generator alone.
inline std::vector<double> first_logits(const Recipe& r, const Problem& p) {
  const Generator g = build_generator(r.generator, 1, 3, kSize, kSize, kSeed);
  const auto program = cpu().compile(g.graph, {});
  cpu().upload(program->data(g.image), p.x.data(), p.x.size());
  program->forward();
  std::vector<float> s(kPixels);
  cpu().download(s.data(), program->data(g.logits), s.size());
  return {s.begin(), s.end()};
}

struct Masks {
  std::vector<double> hard, soft;
};
// Exactly the top `count` of s, and the sigmoid around the midpoint between the last one in and the first one out.
inline Masks top_masks(const std::vector<double>& s, size_t count, double temperature) {
  std::vector<double> sorted = s;
  std::sort(sorted.rbegin(), sorted.rend());
  const double threshold = (sorted[count - 1] + sorted[count]) / 2;
  Masks m;
  for (double v : s) m.hard.push_back(v > threshold), m.soft.push_back(1 / (1 + std::exp((threshold - v) / temperature)));
  return m;
}

}  // namespace actmatch::test
