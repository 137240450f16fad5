// Input mask optimisation, MaRC (arXiv 2508.11388). For every pixel a weight w and a width q:
//   s = variable_smooth(w, q) (kernels/variable_smooth.h),  m = sigmoid(s)
//   L = - w_pos mean_b log P(m x + (1 - m) b) - w_neg mean_b log(1 - P((1 - m) x + m b))
//       + w_sparsity (mean m)^2 - w_width mean log q + w_tv TV2(m) / N
// b runs over `backgrounds`; P = (1 - a) softmax_y + a sigmoid(z_y), clipped to [5e-6, 1 - 5e-6], a = `sigmoid_share`; TV2 is the sum of
// squared differences of neighbours along rows, columns and both diagonals. Adam; after each step q >= `least_width`. It stops after
// `steps`, or once `least_steps` are done, mean m < `stop_area`, and the exponential average (`stop_average`) of the drop of mean m is
// below `stop_drop`. The defaults are those for CNNs at 224 x 224; the recipe marc-vit has those for ViTs at 384 x 384.
#include <algorithm>
#include <cmath>

#include "engine/backend/kernels.h"
#include "engine/core/error.h"
#include "engine/methods/fills.h"
#include "engine/methods/one_by_one.h"
#include "engine/methods/passes.h"
#include "engine/methods/registry.h"
#include "kernels/variable_smooth.h"

namespace actmatch {

namespace {

struct Options {
  int64_t steps = 7500, least_steps = 250;
  double learning_rate = 3e-2;
  double positive = 1, negative = 1, sparsity = 0.6, width = 1.2, tv = 10;
  double sigmoid_share = 0.1;
  std::vector<Fill> backgrounds{Fill::kBlack, Fill::kWhite, Fill::kMean};
  int64_t radius = 20;
  double first_weight = 0.5, first_width = 1.2, least_width = 0.6;
  double stop_area = 0.5, stop_drop = 2e-4, stop_average = 0.95;
};

// Value and gradient of what depends on the mask alone.
struct MaskTerms {
  double mean = 0, tv = 0;
  std::vector<float> gradient;
};

MaskTerms mask_terms(const std::vector<float>& m, int64_t H, int64_t W, double sparsity, double tv_weight) {
  MaskTerms terms;
  const auto n = static_cast<double>(m.size());
  for (float v : m) terms.mean += v;
  terms.mean /= n;
  terms.gradient.assign(m.size(), static_cast<float>(2 * sparsity * terms.mean / n));
  const auto scale = static_cast<float>(2 * tv_weight / n);
  for (const auto& [dy, dx] : {std::pair<int64_t, int64_t>{0, 1}, {1, 0}, {1, 1}, {1, -1}})
    for (int64_t y = 0; y + dy < H; ++y) {
      const int64_t first = std::max<int64_t>(0, -dx), last = W - std::max<int64_t>(0, dx), to = dy * W + dx;
      float row = 0;
      for (int64_t i = y * W + first; i < y * W + last; ++i) {
        const float d = m[static_cast<size_t>(i + to)] - m[static_cast<size_t>(i)];
        row += d * d;
        terms.gradient[static_cast<size_t>(i + to)] += scale * d;
        terms.gradient[static_cast<size_t>(i)] -= scale * d;
      }
      terms.tv += row;
    }
  terms.tv /= n;
  return terms;
}

class Marc : public OneByOne {
 public:
  Marc(Classifier& classifier, Options options) : OneByOne(classifier), options_(std::move(options)) {}

 protected:
  SoftMap map(const Problem& problem, uint64_t, const Steps& report) override {
    const ClassifierShape& shape = classifier_.shape();
    Backend& backend = classifier_.backend();
    Kernels& k = backend.kernels();
    const int64_t H = shape.height, W = shape.width, N = H * W;
    const auto count = static_cast<int64_t>(options_.backgrounds.size());
    const auto constant = [&](int64_t n, double value) {
      return DeviceBuffer(backend, std::vector<float>(static_cast<size_t>(n), static_cast<float>(value)));
    };
    const DeviceBuffer x(backend, problem.x), w = constant(N, options_.first_weight), q = constant(N, options_.first_width);
    const DeviceBuffer w1(backend, N), w2(backend, N), q1(backend, N), q2(backend, N), dw(backend, N), dq(backend, N), s(backend, N),
        m(backend, N), dm(backend, N), ds(backend, N), scratch(backend, kernels::variable_smooth_scratch(options_.radius, 1, H, W)),
        threshold = constant(1, 0), one = constant(1, 1);
    const DeviceArray<double> rate(backend, std::span<const double>(&options_.learning_rate, 1));
    const uint32_t first_step = 1;
    const DeviceArray<uint32_t> number(backend, std::span<const uint32_t>(&first_step, 1));
    std::vector<DeviceBuffer> fills;
    for (Fill fill : options_.backgrounds) fills.emplace_back(backend, fill_image(shape, problem, fill));
    std::vector<Kernels::Pass> passes;
    for (const bool drop : {false, true})
      for (const DeviceBuffer& fill : fills) passes.push_back({drop, kernels::BackgroundLayout::kImage, m.data(), fill.data()});

    SoftMap found;
    found.losses = {{"keep", {}}, {"drop", {}}, {"area", {}}, {"width", {}}, {"tv", {}}, {"total", {}}};
    found.passes_per_step = 2 * count;
    const auto masks = [&] {
      k.variable_smooth(s.data(), scratch.data(), w.data(), q.data(), options_.radius, 1, H, W);
      k.mask_activate(m.data(), s.data(), threshold.data(), one.data(), 1, N);
    };
    double before = 0, drop = 0;
    for (int64_t step = 1; step <= options_.steps; ++step) {
      masks();
      const MaskTerms terms = mask_terms(m.download(), H, W, options_.sparsity, options_.tv);
      backend.upload(dm.data(), terms.gradient.data(), terms.gradient.size());
      double keep_loss = 0, drop_loss = 0;
      const auto some = [&](int64_t first, int64_t n) {
        return std::span(passes).subspan(static_cast<size_t>(first), static_cast<size_t>(n));
      };
      classifier_.back_to_images(
          2 * count,
          [&](float* input, int64_t first, int64_t n) {
            k.compose(input, x.data(), some(first, n), kernels::ChannelOrder::kFirst, 1, shape.channels, N);
          },
          [&](std::span<float> row, int64_t i) {
            const bool kept = i < count;
            const double weight = (kept ? options_.positive : options_.negative) / static_cast<double>(count);
            (kept ? keep_loss : drop_loss) += logit_loss(row, problem.label, kept, weight) / static_cast<double>(count);
          },
          [&](const float* gradient, int64_t first, int64_t n) {
            k.compose_backward(dm.data(), gradient, x.data(), some(first, n), kernels::ChannelOrder::kFirst, 1, shape.channels, N, true);
          });
      k.mask_activate_backward(ds.data(), dm.data(), m.data(), one.data(), 1, N, false);
      k.variable_smooth_backward(dw.data(), dq.data(), scratch.data(), ds.data(), w.data(), q.data(),
                                 static_cast<float>(-options_.width / static_cast<double>(N)), options_.radius, 1, H, W);
      double log_width = 0;
      for (float v : q.download()) log_width += std::log(v);
      log_width /= static_cast<double>(N);
      const kernels::AdamTensor both[] = {{w.data(), w1.data(), w2.data(), dw.data(), N}, {q.data(), q1.data(), q2.data(), dq.data(), N}};
      k.adam(both, {}, number.data(), rate.data(), 1.0f);
      k.clamp_below(q.data(), static_cast<float>(options_.least_width), N);
      k.advance(number.data(), 1);

      const double values[] = {keep_loss,
                               drop_loss,
                               terms.mean * terms.mean,
                               log_width,
                               terms.tv,
                               options_.positive * keep_loss + options_.negative * drop_loss + options_.sparsity * terms.mean * terms.mean -
                                   options_.width * log_width + options_.tv * terms.tv};
      for (size_t t = 0; t < found.losses.size(); ++t) found.losses[t].values.push_back(static_cast<float>(values[t]));
      if (!std::isfinite(values[5])) break;  // the map shows it
      found.steps = step;
      report(step, options_.steps, &found.losses);
      if (step > 1) drop = options_.stop_average * drop + (1 - options_.stop_average) * (before - terms.mean);
      before = terms.mean;
      if (step >= options_.least_steps && terms.mean < options_.stop_area && drop < options_.stop_drop) break;
    }
    masks();
    found.logits = s.download();
    found.soft = m.download();
    for (float v : found.soft) found.best.push_back(v > 0.5f);
    return found;
  }

 private:
  // -log P of the class or -log(1 - P); the logits become its gradient times `weight`.
  double logit_loss(std::span<float> row, int32_t label, bool kept, double weight) const {
    const auto y = static_cast<size_t>(label);
    const std::vector<float> p = softmax(row);
    const double sigmoid = 1 / (1 + std::exp(-static_cast<double>(row[y]))), a = options_.sigmoid_share;
    const double P = (1 - a) * p[y] + a * sigmoid, least = 5e-6, clipped = std::clamp(P, least, 1 - least);
    const double by_P = P != clipped ? 0 : kept ? -weight / P : weight / (1 - P);
    for (size_t i = 0; i < row.size(); ++i) {
      const double own = i == y ? 1 : 0;
      row[i] = static_cast<float>(by_P * ((1 - a) * p[y] * (own - p[i]) + a * own * sigmoid * (1 - sigmoid)));
    }
    return -std::log(kept ? clipped : 1 - clipped);
  }
  Options options_;
};

}  // namespace

MethodInfo marc_method() {
  return {"marc", "a mask with a weight and a width at every pixel, optimised (MaRC, arXiv 2508.11388)", false,
          [](Classifier& classifier, JsonReader& options, bool) -> std::unique_ptr<Method> {
            constexpr double kBig = 1e6;
            Options o;
            options.number("steps", o.steps, 1, 1000000);
            options.number("least_steps", o.least_steps, 1, 1000000);
            options.number("learning_rate", o.learning_rate, 0, kBig);
            options.number("positive", o.positive, 0, kBig);
            options.number("negative", o.negative, 0, kBig);
            options.number("sparsity", o.sparsity, 0, kBig);
            options.number("width", o.width, 0, kBig);
            options.number("tv", o.tv, 0, kBig);
            options.number("sigmoid_share", o.sigmoid_share, 0, 1);
            options.choices("backgrounds", o.backgrounds, kFills);
            options.number("radius", o.radius, 0, 64);
            options.number("first_weight", o.first_weight, -kBig, kBig);
            options.number("first_width", o.first_width, 1e-3, kBig);
            options.number("least_width", o.least_width, 1e-3, kBig);
            options.number("stop_area", o.stop_area, 0, 1);
            options.number("stop_drop", o.stop_drop, -1, 1);
            options.number("stop_average", o.stop_average, 0, 1);
            return std::make_unique<Marc>(classifier, std::move(o));
          }};
}

}  // namespace actmatch
