#include "engine/explain/optimise.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/backend/kernels.h"
#include "engine/core/error.h"
#include "engine/explain/device_buffer.h"
#include "engine/explain/feasibility.h"
#include "engine/explain/smooth.h"

namespace actmatch {

using kernels::BackgroundLayout;
using kernels::RandomStream;
using Clock = std::chrono::steady_clock;

namespace {

// The entry of a per-tap list; the last one serves the taps behind it.
template <class T>
T entry(const std::vector<T>& list, size_t i) {
  return list[std::min(i, list.size() - 1)];
}

struct Tap {
  ValueId value;
  kernels::TapDistance distance;
  double weight;
  int64_t C, HW;
  DeviceBuffer prepared, constant;
};

// Area of the hard mask over the steps: falls geometrically, then follows the label.
class AreaController {
 public:
  AreaController(const AreaSchedule& schedule, int64_t steps, double ceiling)
      : schedule_(schedule), ceiling_(ceiling), area_(std::min(schedule.start, ceiling)) {
    fall_steps_ = std::max<int64_t>(1, static_cast<int64_t>(std::llround(schedule.until * static_cast<double>(steps))));
  }
  double area() const { return area_; }
  double progress(int64_t step) const { return std::min(1.0, static_cast<double>(step) / static_cast<double>(fall_steps_)); }
  void update(int64_t step, bool kept, double best_area) {
    const int64_t next = step + 1;
    if (next < fall_steps_)
      area_ = std::min(ceiling_, schedule_.start * std::pow(schedule_.end / schedule_.start, progress(next)));
    else
      area_ = std::min(area_ * (kept ? schedule_.shrink : schedule_.grow), 1.6 * best_area);
    area_ = std::min(area_, ceiling_);
  }

 private:
  AreaSchedule schedule_;
  double ceiling_, area_;
  int64_t fall_steps_;
};

}  // namespace

struct Optimiser::State {
  Classifier& classifier;
  Backend& backend;
  Kernels& k;
  Recipe recipe;
  std::vector<std::string> tap_names;
  int64_t passes, robust_passes;
  bool necessity;
  Classifier::Training net;
  Classifier::Training reference;  // batch 1: the taps on the image itself
  std::vector<Tap> taps;
  int64_t C, H, W, HW, K;

  State(Classifier& c, const Recipe& r) : classifier(c), backend(c.backend()), k(c.backend().kernels()), recipe(r) {
    const ClassifierShape& s = c.shape();
    C = s.channels, H = s.height, W = s.width, HW = H * W, K = s.classes;
    if (recipe.weights.act > 0 && (recipe.taps.distances.empty() || recipe.taps.weights.empty()))
      throw Error(ErrorCode::kInvalidArgument,
                  "the recipe weighs 'act' but has no distances or no weights for its taps; give one of each at least");
    if (recipe.weights.act > 0)
      tap_names = recipe.taps.names.empty() ? c.automatic_taps(static_cast<size_t>(recipe.taps.limit)) : recipe.taps.names;
    robust_passes = recipe.weights.rob > 0 ? recipe.robust_backgrounds : 0;
    necessity = recipe.weights.nec > 0;
    passes = 1 + robust_passes + (necessity ? 1 : 0);
    net = c.compile_training(passes, tap_names);
    reference = c.compile_forward(1, tap_names);
    for (size_t i = 0; i < net.taps.size(); ++i) {
      const Shape& shape = net.graph.value(net.taps[i]).shape;
      Tap tap{net.taps[i], entry(recipe.taps.distances, i), entry(recipe.taps.weights, i), shape[1], 1, {}, {}};
      for (size_t axis = 2; axis < shape.size(); ++axis) tap.HW *= shape[axis];
      tap.prepared = DeviceBuffer(backend, tap.C * tap.HW);
      tap.constant = DeviceBuffer(backend, 1);
      taps.push_back(std::move(tap));
    }
  }
};

Optimiser::Optimiser(Classifier& classifier, const Recipe& recipe) : state_(std::make_unique<State>(classifier, recipe)) {}
Optimiser::~Optimiser() = default;
const std::vector<std::string>& Optimiser::tap_names() const { return state_->tap_names; }
int64_t Optimiser::passes_per_step() const { return state_->passes; }

namespace {

// Everything one run needs beside the compiled classifier.
struct Run {
  Generator generator;
  std::unique_ptr<Program> program;
  struct Parameter {
    ValueId value;
    int64_t count;
    DeviceBuffer first, second;
  };
  std::vector<Parameter> parameters;
  bool is_grid() const { return generator.image == kNoValue; }
};

// Pixels outside `allowed` get a logit so low that no mask ever picks them before all others.
void forbid(Generator& g, const std::vector<uint8_t>& allowed, int64_t H, int64_t W) {
  Tensor bias(DType::kF32, {1, 1, H, W});
  for (int64_t i = 0; i < H * W; ++i) bias.data<float>()[i] = allowed[static_cast<size_t>(i)] ? 0.0f : -1e4f;
  const ValueId constant = g.graph.add_constant("forbidden", std::move(bias));
  g.logits = g.graph.add_node("forbid", BinaryAttrs{BinaryKind::kAdd}, {g.logits, constant});
  g.graph.set_outputs({g.logits});
}

Run make_run(Backend& backend, const Recipe& recipe, const Problem& problem, const ClassifierShape& shape, uint64_t seed) {
  Run run;
  run.generator = build_generator(recipe.generator, 1, shape.channels, shape.height, shape.width, seed);
  if (!problem.allowed.empty()) forbid(run.generator, problem.allowed, shape.height, shape.width);
  CompileOptions options;
  options.gradients.seeds = {run.generator.logits};
  options.gradients.wanted = run.generator.graph.parameters();
  run.program = backend.compile(run.generator.graph, options);
  for (ValueId v : options.gradients.wanted) {
    const int64_t count = element_count(run.generator.graph.value(v).shape);
    run.parameters.push_back({v, count, DeviceBuffer(backend, count), DeviceBuffer(backend, count)});
  }
  if (run.generator.image != kNoValue) backend.upload(run.program->data(run.generator.image), problem.x.data(), problem.x.size());
  return run;
}

// Loss terms of one step, in a fixed order.
enum Term { kAct, kKl, kCe, kMargin, kArea, kBin, kTv, kRob, kNec, kTotal, kTermCount };
constexpr const char* kTermNames[kTermCount] = {"act", "kl", "ce", "margin", "area", "bin", "tv", "rob", "nec", "total"};

}  // namespace

OptimisedMask Optimiser::run(const Problem& problem, uint64_t seed, const ProgressCallback& progress) {
  State& st = *state_;
  Backend& backend = st.backend;
  Kernels& k = st.k;
  const Recipe& recipe = st.recipe;
  const LossWeights& w = recipe.weights;
  const int64_t C = st.C, H = st.H, W = st.W, HW = st.HW, K = st.K, P = st.passes;
  const auto start_time = Clock::now();

  Run run = make_run(backend, recipe, problem, st.classifier.shape(), seed);
  DeviceBuffer x(backend, problem.x), colour(backend, problem.colour), target(backend, problem.logits_x);
  DeviceBuffer soft(backend, HW), hard(backend, HW), d_mask(backend, HW), threshold(backend, 1), inverse_temperature(backend, 1),
      area(backend, 1);
  DeviceBuffer backgrounds(backend, std::max<int64_t>(1, st.robust_passes * C * HW));
  DeviceBuffer values(backend, std::max<int64_t>(P, kernels::kRegulariserTerms)), p_label(backend, P), label(backend, 1), top(backend, P);
  *reinterpret_cast<int32_t*>(label.data()) = problem.label;
  const auto* y = reinterpret_cast<const int32_t*>(label.data());
  const std::vector<float> regulariser_weights{static_cast<float>(w.area), static_cast<float>(w.bin), static_cast<float>(w.tv)};
  DeviceBuffer reg_weights(backend, regulariser_weights);
  const auto constant_rows = [&](double value) {
    return DeviceBuffer(backend, std::vector<float>(static_cast<size_t>(P), static_cast<float>(value)));
  };
  const DeviceBuffer w_kl = constant_rows(w.kl), w_ce = constant_rows(w.ce), w_margin = constant_rows(w.margin),
                     w_nec = constant_rows(w.nec),
                     w_rob = constant_rows(st.robust_passes ? w.rob / static_cast<double>(st.robust_passes) : 0.0);
  std::vector<DeviceBuffer> w_tap;

  // phi(x), once.
  backend.upload(st.reference.program->data(st.reference.ends.input), problem.x.data(), problem.x.size());
  if (!st.taps.empty()) {
    st.reference.program->forward();
    st.classifier.count_images(1);
  }
  for (size_t i = 0; i < st.taps.size(); ++i) {
    Tap& tap = st.taps[i];
    k.tap_prepare(tap.prepared.data(), tap.constant.data(), st.reference.program->data(st.reference.taps[i]), tap.distance, 1, tap.C,
                  tap.HW);
    w_tap.push_back(constant_rows(w.act * tap.weight));
    k.fill(st.net.program->gradient(tap.value), 0.0f, P * tap.C * tap.HW);  // only the pass on b0 is matched; the other rows stay zero
  }

  const bool scheduled = recipe.area.enabled;
  double ceiling = 1.0;
  if (!problem.allowed.empty()) ceiling = static_cast<double>(count_pixels(problem.allowed)) / static_cast<double>(HW);
  AreaController controller(recipe.area, recipe.steps, ceiling);
  inverse_temperature.upload(std::vector<float>{scheduled ? static_cast<float>(1.0 / recipe.area.temperature) : 1.0f});
  threshold.upload(std::vector<float>{0.0f});

  float* s = run.program->data(run.generator.logits);
  float* ds = run.program->gradient(run.generator.logits);
  float* images = st.net.program->data(st.net.ends.input);
  float* d_images = st.net.program->gradient(st.net.ends.input);
  float* z = st.net.program->data(st.net.ends.logits);
  float* dz = st.net.program->gradient(st.net.ends.logits);

  OptimisedMask result;
  result.passes_per_step = P;
  for (const char* name : kTermNames) result.losses.push_back({name, {}});
  std::vector<Kernels::Pass> passes(static_cast<size_t>(P));
  std::vector<float> read(static_cast<size_t>(std::max<int64_t>(P, 4)));
  double best_area = 1.0;
  const Shape grid_shape = run.is_grid() ? run.generator.graph.value(run.parameters[0].value).shape : Shape{1, 1, H, W};
  GradientSmoother smoother(grid_shape[2], grid_shape[3]);

  const auto make_masks = [&] {
    if (scheduled) {
      area.upload(std::vector<float>{static_cast<float>(controller.area())});
      k.top_fraction_mask(hard.data(), threshold.data(), s, area.data(), 1, HW);
    } else {
      k.hard_mask(hard.data(), s, threshold.data(), 1, HW);
    }
    k.mask_activate(soft.data(), s, threshold.data(), inverse_temperature.data(), 1, HW);
  };

  for (int64_t step = 0; step < recipe.steps; ++step) {
    float terms[kTermCount] = {};
    const bool composed_soft = static_cast<double>(step) < recipe.soft_until * static_cast<double>(recipe.steps);
    run.program->forward();
    make_masks();

    const float* shown = composed_soft ? soft.data() : hard.data();
    if (st.robust_passes > 0)
      k.random_background(backgrounds.data(), problem.backgrounds, RandomStream::kOptimise, problem.image_index,
                          static_cast<uint32_t>(step * st.robust_passes), st.robust_passes);
    passes[0] = {false, BackgroundLayout::kColour, shown, colour.data()};
    for (int64_t r = 0; r < st.robust_passes; ++r)
      passes[static_cast<size_t>(1 + r)] = {false, BackgroundLayout::kImage, shown, backgrounds.data() + r * C * HW};
    if (st.necessity) passes.back() = {true, BackgroundLayout::kColour, shown, colour.data()};
    k.compose(images, x.data(), passes, 1, C, HW);
    st.net.program->forward();
    st.classifier.count_images(P);

    k.fill(dz, 0.0f, P * K);
    const auto mean_of = [&](int64_t n) {
      backend.download(read.data(), values.data(), static_cast<size_t>(n));
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += read[static_cast<size_t>(i)];
      return static_cast<float>(sum / static_cast<double>(n));
    };
    if (w.kl > 0) {
      k.kl_logits(values.data(), dz, z, target.data(), w_kl.data(), static_cast<float>(recipe.kl_temperature), 1, 1, K, true);
      terms[kKl] = mean_of(1);
    }
    k.cross_entropy(values.data(), w.ce > 0 ? dz : nullptr, z, y, w_ce.data(), 1, 1, K, true);
    terms[kCe] = mean_of(1);
    if (w.margin > 0) {
      k.margin_hinge(values.data(), dz, z, y, w_margin.data(), static_cast<float>(recipe.margin), 1, 1, K, true);
      terms[kMargin] = mean_of(1);
    }
    if (st.robust_passes > 0) {
      float *zr = z + K, *dzr = dz + K;
      const int64_t R = st.robust_passes;
      switch (recipe.robust_form) {
        case RobustForm::kCrossEntropy: k.cross_entropy(values.data(), dzr, zr, y, w_rob.data(), 1, R, K, true); break;
        case RobustForm::kKl:
          k.kl_logits(values.data(), dzr, zr, target.data(), w_rob.data(), static_cast<float>(recipe.kl_temperature), 1, R, K, true);
          break;
        case RobustForm::kMargin:
          k.margin_hinge(values.data(), dzr, zr, y, w_rob.data(), static_cast<float>(recipe.margin), 1, R, K, true);
          break;
      }
      terms[kRob] = mean_of(R);
    }
    if (st.necessity) {
      float *zc = z + (P - 1) * K, *dzc = dz + (P - 1) * K;
      if (recipe.necessity_form == NecessityForm::kHinge)
        k.necessity_hinge(values.data(), dzc, zc, target.data(), y, w_nec.data(), static_cast<float>(recipe.necessity_margin), 1, 1, K,
                          true);
      else
        k.necessity_log(values.data(), dzc, zc, y, w_nec.data(), 1, 1, K, true);
      terms[kNec] = mean_of(1);
    }
    for (size_t i = 0; i < st.taps.size(); ++i) {
      const Tap& tap = st.taps[i];
      k.tap_distance(values.data(), st.net.program->gradient(tap.value), st.net.program->data(tap.value), tap.prepared.data(),
                     tap.constant.data(), w_tap[i].data(), tap.distance, 1, 1, tap.C, tap.HW, false);
      terms[kAct] += static_cast<float>(tap.weight) * mean_of(1);
    }
    st.net.program->backward();

    k.compose_backward(d_mask.data(), d_images, x.data(), passes, 1, C, HW, false);
    k.mask_regulariser(values.data(), d_mask.data(), soft.data(), reg_weights.data(), recipe.tv_neighbours, 1, H, W, true);
    backend.download(read.data(), values.data(), 3);
    terms[kArea] = read[0], terms[kBin] = read[1], terms[kTv] = read[2];
    k.mask_activate_backward(ds, d_mask.data(), soft.data(), inverse_temperature.data(), 1, HW, false);
    const double sigma = recipe.smooth_start + (recipe.smooth_end - recipe.smooth_start) * controller.progress(step);
    if (run.is_grid()) {  // smoothing the grid's gradient is the same thing at a fraction of the pixels
      run.program->backward();
      smoother.apply(run.program->gradient(run.parameters[0].value), sigma / static_cast<double>(recipe.generator.cell));
    } else {
      smoother.apply(ds, sigma);
      run.program->backward();
    }
    kernels::AdamOptions adam;
    adam.learning_rate = recipe.learning_rate;
    adam.beta1 = recipe.beta1;
    adam.beta2 = recipe.beta2;
    for (auto& p : run.parameters)
      k.adam(run.program->data(p.value), p.first.data(), p.second.data(), run.program->gradient(p.value), p.count, adam, step + 1, 1.0f);

    // Does the hard mask of this step keep the label?
    auto* top_class = reinterpret_cast<int32_t*>(top.data());
    k.class_scores(top_class, p_label.data(), z, y, 1, 1 + st.robust_passes, K);
    backend.download(read.data(), p_label.data(), 1);
    const auto tops = top.download();
    const auto* classes = reinterpret_cast<const int32_t*>(tops.data());
    bool kept = classes[0] == problem.label && read[0] >= (scheduled ? recipe.area.keep : problem.criterion.tau) * problem.p_x;
    if (problem.criterion.robust && st.robust_passes > 0) {
      int64_t held = 0;
      for (int64_t r = 0; r < st.robust_passes; ++r) held += classes[1 + r] == problem.label;
      kept = kept && held >= needed_backgrounds(problem.criterion.rho, st.robust_passes);
    }
    const auto hard_values = hard.download();
    const double hard_area = std::count(hard_values.begin(), hard_values.end(), 1.0f) / static_cast<double>(HW);
    if (kept && !composed_soft && (hard_area < best_area || result.best.empty()) && hard_area > 0) {
      best_area = hard_area;
      result.best.assign(hard_values.begin(), hard_values.end());
    }
    if (scheduled) controller.update(step, kept, best_area);

    const double weights[kTermCount] = {w.act, w.kl, w.ce, w.margin, w.area, w.bin, w.tv, w.rob, w.nec, 0};
    for (int t = 0; t < kTotal; ++t) terms[kTotal] += static_cast<float>(weights[t]) * terms[t];
    for (int t = 0; t < kTermCount; ++t) result.losses[static_cast<size_t>(t)].values.push_back(terms[t]);
    result.steps = step + 1;
    if (!std::isfinite(terms[kTotal]))
      throw Error(ErrorCode::kInvalidArgument, "the loss became " + std::to_string(terms[kTotal]) + " at step " + std::to_string(step + 1) +
                                                   "; a smaller learning_rate or weight in the recipe cures that");
    if (progress) {
      const double elapsed = std::chrono::duration<double>(Clock::now() - start_time).count();
      const Progress p{step + 1,  recipe.steps,
                       hard_area, &result.losses,
                       elapsed,   elapsed / static_cast<double>(step + 1) * static_cast<double>(recipe.steps - step - 1)};
      if (!progress(p)) throw Error(ErrorCode::kCancelled, "stopped");
    }
  }
  run.program->forward();
  make_masks();
  result.logits.resize(static_cast<size_t>(HW));
  backend.download(result.logits.data(), s, result.logits.size());
  result.soft = soft.download();
  for (const Program* p : {st.net.program.get(), st.reference.program.get(), run.program.get()}) {
    const MemoryReport m = p->memory();
    result.memory_bytes += m.arena_bytes + m.weight_bytes + m.exposed_bytes;
  }
  result.seconds = std::chrono::duration<double>(Clock::now() - start_time).count();
  return result;
}

}  // namespace actmatch
