#include "engine/explain/step.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/backend/trace_range.h"
#include "engine/core/error.h"
#include "engine/explain/blur.h"
#include "engine/explain/feasibility.h"
#include "kernels/regulariser.h"

namespace actmatch {

namespace {

// The entry of a per-tap list; the last one serves the taps behind it.
template <class T>
T entry(const std::vector<T>& list, size_t i) {
  return list[std::min(i, list.size() - 1)];
}

// Steps of the area's fall, and how far it is at a step, 0..1.
int64_t fall_steps_of(const Recipe& r) {
  return std::max<int64_t>(1, static_cast<int64_t>(std::llround(r.area.until * static_cast<double>(r.steps))));
}
double progress(int64_t step, int64_t fall_steps) { return std::min(1.0, static_cast<double>(step) / static_cast<double>(fall_steps)); }

// The area of each step before the controller takes over.
std::vector<double> fall_of(const AreaSchedule& area, int64_t fall_steps, int64_t steps) {
  const auto ranking = static_cast<int64_t>(std::llround(area.ranking * static_cast<double>(fall_steps)));
  std::vector<double> fall;
  for (int64_t t = 0; t < std::min(fall_steps, steps + 1); ++t) {
    // The multiples of the golden ratio fill an interval evenly, however many of them are taken.
    const double golden = static_cast<double>(t + 1) * 0.6180339887498949;
    const double share = t < ranking ? 1.0 - (golden - std::floor(golden)) : progress(t - ranking, fall_steps - ranking);
    fall.push_back(t < ranking ? area.end + share * (area.start - area.end) : area.start * std::pow(area.end / area.start, share));
  }
  return fall;
}

// Passes on other backgrounds than b0: random ones and, last, the blurred picture.
int64_t random_of(const Recipe& r) { return r.weights.rob > 0 ? r.robust_backgrounds : 0; }
bool blurs(const Recipe& r) { return r.weights.rob > 0 && r.robust_blur > 0; }
int64_t robust_of(const Recipe& r) { return random_of(r) + (blurs(r) ? 1 : 0); }

int64_t soft_steps_of(const Recipe& r) {
  int64_t steps = 0;
  while (steps < r.steps && static_cast<double>(steps) < r.soft_until * static_cast<double>(r.steps)) ++steps;
  return steps;
}

// Where masks are the top fraction of the logits only their order counts.
Sharing sharing_of(const Recipe& r, bool shared) {
  return !shared ? Sharing::kNone : r.area.enabled ? Sharing::kSharedOrder : Sharing::kShared;
}

}  // namespace

std::vector<std::string> matched_taps(const Classifier& classifier, const Recipe& recipe) {
  if (!(recipe.weights.act > 0)) return {};
  if (recipe.taps.distances.empty() || recipe.taps.weights.empty())
    throw Error(ErrorCode::kInvalidArgument,
                "the recipe weighs 'act' but has no distances or no weights for its taps; give one of each at least");
  return recipe.taps.names.empty() ? classifier.automatic_taps(static_cast<size_t>(recipe.taps.limit)) : recipe.taps.names;
}

OptimisationStep::OptimisationStep(Classifier& classifier, const Recipe& recipe, const std::vector<std::string>& tap_names, int64_t batch,
                                   bool shared)
    : classifier_(classifier), backend_(classifier.backend()), k_(backend_.kernels()), recipe_(recipe), batch_(batch), shared_(shared) {
  const ClassifierShape& shape = classifier.shape();
  C_ = shape.channels, H_ = shape.height, W_ = shape.width, HW_ = H_ * W_, K_ = shape.classes;
  const LossWeights& w = recipe.weights;
  robust_ = robust_of(recipe), random_ = random_of(recipe);
  necessity_ = w.nec > 0;
  passes_ = passes_of(recipe);
  fall_steps_ = fall_steps_of(recipe);
  soft_steps_ = soft_steps_of(recipe);
  net_ = classifier.compile_training(passes_ * batch, tap_names, batch);
  reference_ = classifier.compile_forward(1, tap_names);

  const auto buffer = [&](int64_t count) {
    buffer_bytes_ += static_cast<size_t>(count) * sizeof(float);
    return DeviceBuffer(backend_, count);
  };
  const auto constant = [&](int64_t count, double value) {
    return DeviceBuffer(backend_, std::vector<float>(static_cast<size_t>(count), static_cast<float>(value)));
  };
  std::vector<float> act_weight;
  for (size_t i = 0; i < net_.taps.size(); ++i) {
    Tap tap{net_.taps[i], entry(recipe.taps.distances, i), entry(recipe.taps.weights, i), net_.tap(i), {}, {}, {}};
    ACTMATCH_CHECK(reference_.tap(i) == tap.view, "a tap lies in two programs in the same order");
    tap.prepared = buffer(batch * tap.view.C * tap.view.HW);
    tap.constant = buffer(batch);
    tap.row_weight = constant(batch, w.act * tap.weight);
    act_weight.push_back(static_cast<float>(tap.weight));
    taps_.push_back(std::move(tap));
  }
  if (!taps_.empty()) {
    act_ = buffer(static_cast<int64_t>(taps_.size()) * batch);
    act_weight_ = DeviceBuffer(backend_, act_weight);
  }
  x_ = buffer(batch * C_ * HW_);
  for (DeviceBuffer* plane : {&soft_, &hard_, &best_, &d_mask_}) *plane = buffer(batch * HW_);
  colour_ = buffer(batch * C_);
  target_ = buffer(batch * K_);
  for (DeviceBuffer* one : {&threshold_, &area_, &kl_, &ce_, &margin_, &nec_}) *one = buffer(batch);
  outcome_ = buffer(batch * kernels::kOutcomeColumns);
  regulariser_ = buffer(batch * kernels::kRegulariserTerms);
  inverse_temperature_ = constant(batch, recipe.area.enabled ? 1.0 / recipe.area.temperature : 1.0);
  p_label_ = buffer(batch * (1 + robust_));
  top_ = DeviceArray<int32_t>(backend_, batch * (1 + robust_));
  label_ = DeviceArray<int32_t>(backend_, batch);
  state_ = DeviceArray<kernels::AreaState>(backend_, batch);
  std::vector<float> weights;
  for (int64_t b = 0; b < batch; ++b)
    for (double v : {w.area, w.bin, w.tv}) weights.push_back(static_cast<float>(v));
  regulariser_weight_ = DeviceBuffer(backend_, weights);
  kl_weight_ = constant(batch, w.kl), ce_weight_ = constant(batch, w.ce), margin_weight_ = constant(batch, w.margin);
  nec_weight_ = constant(batch, w.nec);
  if (robust_ > 0) {
    rob_ = buffer(robust_ * batch);
    rob_weight_ = constant(robust_ * batch, w.rob / static_cast<double>(robust_));
    if (random_ > 0) backgrounds_ = DeviceBuffer(backend_, random_ * C_ * HW_);
    if (blurs(recipe)) blurred_ = buffer(batch * C_ * HW_);
    cursor_ = DeviceArray<kernels::BackgroundCursor>(backend_, 1);
  }
  learning_rate_ = DeviceArray<double>(backend_, std::span<const double>(&recipe.learning_rate, 1));
  if (recipe.area.enabled && !shared)
    fall_ = DeviceArray<double>(backend_, std::span<const double>(fall_of(recipe.area, fall_steps_, recipe.steps)));
  report_ = buffer(static_cast<int64_t>(kReportHead) + kTraceSteps * batch * kernels::kTraceColumns);

  generator_ = std::make_unique<Trainable>(backend_, recipe.generator, batch, C_, H_, W_, false, sharing_of(recipe, shared));
  // Smoothing a grid's gradient is the same thing at a fraction of the pixels.
  const bool grid = generator_->is_grid();
  std::vector<double> sigmas;
  for (int64_t t = 0; t <= std::min(fall_steps_, recipe.steps) && !shared; ++t) {  // a shared net is smooth by its cells
    const double sigma = recipe.smooth_start + (recipe.smooth_end - recipe.smooth_start) * progress(t, fall_steps_);
    sigmas.push_back(grid ? sigma / static_cast<double>(recipe.generator.cell) : sigma);
  }
  smoothing_ = SmoothingTable(backend_, sigmas);
  if (!smoothing_.idle()) smooth_scratch_ = buffer(grid ? generator_->parameters()[0].count : batch * HW_);
}

int64_t OptimisationStep::passes_of(const Recipe& recipe) { return 1 + robust_of(recipe) + (recipe.weights.nec > 0 ? 1 : 0); }

void OptimisationStep::start(std::span<const Problem> problems, uint64_t seed) {
  settle(problems);
  generator_->start(seed);
  upload(problems);
  prepare_taps(problems);
  step_ = 0;
}

void OptimisationStep::show(std::span<const Problem> problems, int64_t number, std::span<const double> areas, double learning_rate) {
  ACTMATCH_CHECK(shared_, "only a generator that pictures share goes on with others");
  settle(problems);
  upload(problems, areas);
  prepare_taps(problems);
  learning_rate_.upload(std::span(&learning_rate, 1));
  step_ = number - 1;
  report_.upload(std::vector<float>{std::bit_cast<float>(static_cast<uint32_t>(number))});
  if (robust_ > 0)  // a step's backgrounds are its own, wherever the training began
    cursor_.upload(std::vector<kernels::BackgroundCursor>{{problems[0].image_index, static_cast<uint32_t>(step_ * random_)}});
}

// What a recording holds by value has to be that of these pictures.
void OptimisationStep::settle(std::span<const Problem> problems) {
  const auto count = static_cast<int64_t>(problems.size());
  ACTMATCH_CHECK(count >= 1 && count <= batch_, "as many pictures as the batch has places");
  const Problem& first = problems[0];
  Frozen frozen;
  frozen.backgrounds = first.backgrounds;
  if (first.criterion.robust && robust_ > 0) frozen.needed = needed_backgrounds(first.criterion.rho, robust_);
  bool forbids = false;
  for (const Problem& p : problems) {
    ACTMATCH_CHECK(p.backgrounds == first.backgrounds && p.image_index == first.image_index, "a batch shares its backgrounds");
    ACTMATCH_CHECK(p.criterion == first.criterion, "a batch shares its criterion");
    forbids = forbids || !p.allowed.empty();
  }
  if (forbids != (generator_->forbidden() != nullptr)) {
    soft_recording_.reset(), hard_recording_.reset();
    generator_.reset();  // first, so that there is room
    ACTMATCH_CHECK(!shared_, "a shared generator knows no forbidden pixels");
    generator_ = std::make_unique<Trainable>(backend_, recipe_.generator, batch_, C_, H_, W_, forbids);
  }
  if (!(frozen == frozen_)) {
    soft_recording_.reset(), hard_recording_.reset();
    frozen_ = frozen;
  }
}

void OptimisationStep::upload(std::span<const Problem> problems, std::span<const double> areas) {
  std::vector<float> x, blurred, colour, target, area, forbidden;
  std::vector<int32_t> label;
  std::vector<kernels::AreaState> state;
  const auto append = [](std::vector<float>& to, const std::vector<float>& from) { to.insert(to.end(), from.begin(), from.end()); };
  for (int64_t b = 0; b < batch_; ++b) {
    const Problem& p = problems[std::min(static_cast<size_t>(b), problems.size() - 1)];
    append(x, p.x), append(colour, p.colour), append(target, p.logits_x);
    if (blurs(recipe_))
      append(blurred,
             gaussian_blur(p.x, classifier_.shape(), recipe_.robust_blur, static_cast<int64_t>(std::ceil(3 * recipe_.robust_blur)), true));
    label.push_back(p.label);
    kernels::AreaState s;
    if (!p.allowed.empty()) s.ceiling = static_cast<double>(count_pixels(p.allowed)) / static_cast<double>(HW_);
    s.area = std::min(areas.empty() ? recipe_.area.start : areas[std::min(static_cast<size_t>(b), areas.size() - 1)], s.ceiling);
    s.least_p = (recipe_.area.enabled ? recipe_.area.keep : p.criterion.tau) * p.p_x;
    state.push_back(s);
    area.push_back(static_cast<float>(s.area));
    // A logit so low that no mask ever picks the pixel before all others.
    for (int64_t i = 0; i < HW_ && generator_->forbidden(); ++i)
      forbidden.push_back(p.allowed.empty() || p.allowed[static_cast<size_t>(i)] ? 0.0f : -1e4f);
  }
  x_.upload(x), colour_.upload(colour), target_.upload(target), area_.upload(area);
  label_.upload(label), state_.upload(state);
  threshold_.upload(std::vector<float>(static_cast<size_t>(batch_), 0.0f));
  if (generator_->image()) backend_.upload(generator_->image(), x.data(), x.size());
  if (generator_->forbidden()) backend_.upload(generator_->forbidden(), forbidden.data(), forbidden.size());
  if (blurs(recipe_)) blurred_.upload(blurred);
  if (robust_ > 0) cursor_.upload(std::vector<kernels::BackgroundCursor>{{problems[0].image_index, 0}});
  report_.upload(std::vector<float>{std::bit_cast<float>(uint32_t{1})});
}

// phi(x), once.
void OptimisationStep::prepare_taps(std::span<const Problem> problems) {
  if (taps_.empty()) return;
  const TraceRange range(backend_, "activations of the picture");
  std::vector<float> x(static_cast<size_t>(C_ * HW_));
  for (int64_t b = 0; b < batch_; ++b) {
    const Problem& p = problems[std::min(static_cast<size_t>(b), problems.size() - 1)];
    const bool last = reference_.program->order(reference_.ends.input) == kernels::ChannelOrder::kLast;
    for (int64_t c = 0; c < C_; ++c)
      for (int64_t i = 0; i < HW_; ++i) x[static_cast<size_t>(last ? i * C_ + c : c * HW_ + i)] = p.x[static_cast<size_t>(c * HW_ + i)];
    backend_.upload(reference_.program->data(reference_.ends.input), x.data(), x.size());
    reference_.program->forward();
    for (size_t i = 0; i < taps_.size(); ++i) {
      const Tap& tap = taps_[i];
      const Classifier::TapView& v = tap.view;
      k_.tap_prepare(tap.prepared.data() + b * v.C * v.HW, tap.constant.data() + b, reference_.program->data(reference_.taps[i]),
                     tap.distance, v.order, 1, v.C, v.HW);
    }
  }
  classifier_.count_images(static_cast<int64_t>(problems.size()));
}

void OptimisationStep::run() {
  const bool soft = step_ < soft_steps_;
  std::unique_ptr<Recording>& recording = soft ? soft_recording_ : hard_recording_;
  if (recording) {
    const TraceRange range(backend_, "step");
    recording->replay();
  } else {
    const TraceRange range(backend_, "step, run and recorded");
    recording = backend_.record([this, soft] { body(soft); });
  }
  classifier_.count_images(passes_ * batch_);
  ++step_;
}

void OptimisationStep::look() {
  body(false, false);
  classifier_.count_images(passes_ * batch_);
}

void OptimisationStep::finish() { forward_to_masks(); }

int64_t OptimisationStep::Report::steps_done() const {
  return copy_.empty() ? 0 : static_cast<int64_t>(std::bit_cast<uint32_t>(copy_[0])) - 1;
}

std::span<const float> OptimisationStep::Report::row(int64_t step, int64_t picture) const {
  const auto row = static_cast<size_t>(step % kTraceSteps * batch_ + picture);
  return copy_.subspan(kReportHead + row * kernels::kTraceColumns, kernels::kTraceColumns);
}

std::vector<float> OptimisationStep::plane(const float* planes, int64_t picture) const {
  std::vector<float> values(static_cast<size_t>(HW_));
  backend_.download(values.data(), planes + picture * HW_, values.size());
  return values;
}

HardMask OptimisationStep::best(int64_t picture) const {
  if (state_.download()[static_cast<size_t>(picture)].best_pixels == 0) return {};
  const std::vector<float> values = plane(best_.data(), picture);
  return {values.begin(), values.end()};
}

OptimisationStep::Memory OptimisationStep::memory() const {
  Memory m;
  const MemoryReport net = net_.program->memory(), reference = reference_.program->memory(), generator = generator_->program().memory();
  const auto total = [](const MemoryReport& r) { return r.arena_bytes + r.weight_bytes + r.exposed_bytes; };
  m.programs = total(net) + total(reference) + total(generator);
  size_t moments = 0;
  for (const Trainable::Parameter& p : generator_->parameters()) moments += 2 * sizeof(float) * static_cast<size_t>(p.count);
  m.fixed = net.weight_bytes + total(reference);
  m.by_batch = net.arena_bytes + net.exposed_bytes + total(generator) + moments + buffer_bytes_;
  return m;
}

std::string OptimisationStep::implementation() const {
  std::string found;
  for (const auto* recording : {&soft_recording_, &hard_recording_})
    if (*recording) found += (found.empty() ? "" : ", then ") + (*recording)->implementation();
  return found.empty() ? "not recorded yet" : found;
}

}  // namespace actmatch
