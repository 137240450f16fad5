// Extremal perturbations (Fong, Patrick, Vedaldi 2019). For each of `areas` a grid a of values in 0..1, all areas in one batch. It starts
// from 1 - noise u, u uniform in (0, 1): in a grid of ones alone pixels tie, and their place would decide which of them the template
// favours. (Number i of area k is uniform number i of draw k, field 3 of the stream kMethod.) Then
//   M = smooth maximum of the grid (kernels/smooth_max.h),  e = the picture, blurred where M is low (kernels/pyramid.h)
//   loss = - z_y(e) + weight * growth^t * mean (sort(M) - template)^2,  t = 0, 1, ..; template: `area` of ones, then zeros
// by gradient descent with momentum (v = momentum v + g, a -= rate v), after each step a is clipped to 0..1. Level l of the pyramid's L is
// the picture under a Gaussian of sigma = max_blur (1 - l / (L - 1)) pixels, cut off at 3 sigma, replicated at the border.
// Map: the mean of M over the areas. Hard mask of its own: the top `area` of M for the smallest area on which the class holds.
#include <algorithm>
#include <cmath>

#include "engine/backend/kernels.h"
#include "engine/explain/blur.h"
#include "engine/explain/prune.h"
#include "engine/methods/fills.h"
#include "engine/methods/one_by_one.h"
#include "engine/methods/passes.h"
#include "engine/methods/registry.h"
#include "kernels/philox.h"
#include "kernels/smooth_max.h"

namespace actmatch {

namespace {

struct Options {
  std::vector<double> areas{0.025, 0.05, 0.1, 0.2};
  int64_t steps = 800;
  double learning_rate = 0.01, momentum = 0.9;
  double weight = 300, growth = 1.0035;
  int64_t step = 7;  // pixels from cell to cell
  double sigma = 21, coldness = 20;
  int64_t levels = 8;
  double max_blur = 20;
  double noise = 1e-3;
};

class Extremal : public OneByOne {
 public:
  Extremal(Classifier& classifier, Options options) : OneByOne(classifier), options_(std::move(options)) {
    std::sort(options_.areas.begin(), options_.areas.end());
  }

 protected:
  SoftMap map(const Problem& problem, uint64_t seed, const Steps& report) override {
    const ClassifierShape& shape = classifier_.shape();
    Backend& backend = classifier_.backend();
    Kernels& k = backend.kernels();
    const int64_t H = shape.height, W = shape.width, N = H * W, K = shape.classes, C = shape.channels, L = options_.levels;
    const auto A = static_cast<int64_t>(options_.areas.size());
    kernels::SmoothMaxShape grid;
    grid.step = options_.step;
    grid.radius = 1 + static_cast<int64_t>(std::ceil(options_.sigma / static_cast<double>(options_.step)));
    grid.coldness = options_.coldness;
    grid.height = H, grid.width = W;
    const int64_t cells = grid.cells_high() * grid.cells_wide();
    std::vector<float> table(static_cast<size_t>(grid.support() * grid.support()));
    kernels::smooth_max_table(table.data(), grid, options_.sigma);

    const DeviceBuffer kernel(backend, table), pyramid(backend, blurred(problem.x, shape)), values(backend, A * cells),
        d_values(backend, A * cells), M(backend, A * N), Z(backend, A * N), dM(backend, A * N), area_value(backend, A),
        area(backend, std::vector<float>(options_.areas.begin(), options_.areas.end()));
    DeviceBuffer area_weight(backend, A);
    std::vector<float> a(static_cast<size_t>(A * cells), 1.0f), velocity(a.size(), 0.0f);
    for (size_t i = 0; i < a.size(); ++i) {
      const auto number = static_cast<uint32_t>(i % static_cast<size_t>(cells)),
                 draw = static_cast<uint32_t>(i / static_cast<size_t>(cells));
      const auto block = kernels::random_block(seed, kernels::RandomStream::kMethod, 3, problem.image_index, draw, number / 4);
      a[i] = static_cast<float>(1 - options_.noise * kernels::uniform_of(block.word[number % 4]));
    }
    SoftMap found;
    found.losses = {{"logit", {}}, {"area", {}}, {"total", {}}};
    found.passes_per_step = A;
    const auto masks = [&] {
      backend.upload(values.data(), a.data(), a.size());
      k.smooth_max(M.data(), Z.data(), values.data(), kernel.data(), grid, A);
    };
    const auto compose = [&](float* input, int64_t first, int64_t count) {
      k.pyramid_compose(input, M.data() + first * N, pyramid.data(), L, count, C, N);
    };
    double weight = options_.weight;
    for (int64_t step = 1; step <= options_.steps; ++step, weight *= options_.growth) {
      masks();
      double logit = 0;
      classifier_.back_to_images(
          A, compose,
          [&](std::span<float> row, int64_t) {
            logit += row[static_cast<size_t>(problem.label)];
            score_gradient(row, problem.label, Score::kLogit);
            row[static_cast<size_t>(problem.label)] = -1.0f;
          },
          [&](const float* gradient, int64_t first, int64_t count) {
            k.pyramid_compose_backward(dM.data() + first * N, gradient, M.data() + first * N, pyramid.data(), L, count, C, N, false);
          });
      area_weight.upload(std::vector<float>(static_cast<size_t>(A), static_cast<float>(weight)));
      k.sorted_area(area_value.data(), dM.data(), M.data(), area.data(), area_weight.data(), A, N, true);
      k.smooth_max_backward(d_values.data(), dM.data(), M.data(), Z.data(), values.data(), kernel.data(), grid, A);
      const std::vector<float> gradient = d_values.download();
      const auto rate = static_cast<float>(options_.learning_rate), momentum = static_cast<float>(options_.momentum);
      for (size_t i = 0; i < a.size(); ++i) {
        velocity[i] = momentum * velocity[i] + gradient[i];
        a[i] = std::clamp(a[i] - rate * velocity[i], 0.0f, 1.0f);
      }
      double area_loss = 0;
      for (float v : area_value.download()) area_loss += v;
      found.losses[0].values.push_back(static_cast<float>(logit));
      found.losses[1].values.push_back(static_cast<float>(area_loss));
      found.losses[2].values.push_back(static_cast<float>(weight * area_loss - logit));
      found.steps = step;
      report(step, options_.steps, &found.losses);
    }
    masks();
    std::vector<float> z(static_cast<size_t>(A * K));
    classifier_.logits_of(z.data(), A, compose);
    const std::vector<float> all = M.download();
    found.logits.assign(static_cast<size_t>(N), 0.0f);
    for (size_t i = 0; i < all.size(); ++i) found.logits[i % found.logits.size()] += all[i] / static_cast<float>(A);
    found.soft = found.logits;
    for (int64_t i = 0; i < A && found.best.empty(); ++i) {
      if (argmax(std::span(z).subspan(static_cast<size_t>(i * K), static_cast<size_t>(K))) != problem.label) continue;
      const std::vector<float> mask(all.begin() + i * N, all.begin() + (i + 1) * N);
      found.best = level_set(mask, kernels::top_count(options_.areas[static_cast<size_t>(i)], N), {});
    }
    return found;
  }

 private:
  std::vector<float> blurred(const std::vector<float>& x, const ClassifierShape& shape) const {
    std::vector<float> levels;
    for (int64_t l = 0; l < options_.levels; ++l) {
      const double sigma = options_.max_blur * (1 - static_cast<double>(l) / static_cast<double>(options_.levels - 1));
      const auto radius = static_cast<int64_t>(std::ceil(3 * sigma));
      const std::vector<float> level = radius > 0 ? gaussian_blur(x, shape, sigma, radius, true) : x;
      levels.insert(levels.end(), level.begin(), level.end());
    }
    return levels;
  }
  Options options_;
};

}  // namespace

MethodInfo extremal_method() {
  return {"extremal", "masks of given areas under which the class's logit is the largest (Fong et al. 2019)", false,
          [](Classifier& classifier, JsonReader& options, bool) -> std::unique_ptr<Method> {
            constexpr double kBig = 1e6;
            Options o;
            options.numbers("areas", o.areas, 1e-6, 1);
            options.number("steps", o.steps, 1, 1000000);
            options.number("learning_rate", o.learning_rate, 0, kBig);
            options.number("momentum", o.momentum, 0, 1);
            options.number("weight", o.weight, 0, kBig);
            options.number("growth", o.growth, 0, 2);
            options.number("step", o.step, 1, 1024);
            options.number("sigma", o.sigma, 1e-3, 1024);
            options.number("coldness", o.coldness, 0, 80);
            options.number("levels", o.levels, 2, 64);
            options.number("max_blur", o.max_blur, 0, 1000);
            options.number("noise", o.noise, 0, 1);
            return std::make_unique<Extremal>(classifier, std::move(o));
          }};
}

}  // namespace actmatch
