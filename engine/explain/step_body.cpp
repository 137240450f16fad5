// What a step does, part by part; each has its name in a profiler. It runs as it stands, and it is what a recording replays.
#include "engine/backend/trace_range.h"
#include "engine/explain/step.h"
#include "kernels/regulariser.h"

namespace actmatch {

using kernels::BackgroundLayout;
using kernels::RandomStream;

void OptimisationStep::body(bool soft, bool train) {
  forward_to_masks();
  const std::vector<Kernels::Pass> passes = compose(soft);
  {
    const TraceRange range(backend_, "classifier forward");
    net_.program->forward();
  }
  clear_gradients();
  logit_losses();
  tap_losses();
  if (train) back_to_masks(passes);
  regularise(train);
  if (train) {
    back_to_generator();
    optimise();
  }
  control(soft);
  trace();
}

void OptimisationStep::forward_to_masks() {
  {
    const TraceRange range(backend_, "generator forward");
    generator_->program().forward();
  }
  const TraceRange range(backend_, "masks");
  const float* s = generator_->logits();
  if (recipe_.area.enabled)
    k_.top_fraction_mask(hard_.data(), threshold_.data(), s, area_.data(), batch_, HW_);
  else
    k_.hard_mask(hard_.data(), s, threshold_.data(), batch_, HW_);
  k_.mask_activate(soft_.data(), s, threshold_.data(), inverse_temperature_.data(), batch_, HW_);
}

std::vector<Kernels::Pass> OptimisationStep::compose(bool soft) {
  const TraceRange range(backend_, "compose");
  const float* shown = soft ? soft_.data() : hard_.data();
  if (random_ > 0) k_.random_background(backgrounds_.data(), frozen_.backgrounds, RandomStream::kOptimise, cursor_.data(), random_);
  std::vector<Kernels::Pass> passes{{false, BackgroundLayout::kColourPerItem, shown, colour_.data()}};
  for (int64_t r = 0; r < random_; ++r) passes.push_back({false, BackgroundLayout::kImage, shown, backgrounds_.data() + r * C_ * HW_});
  if (robust_ > random_) passes.push_back({false, BackgroundLayout::kImagePerItem, shown, blurred_.data()});
  if (necessity_) passes.push_back({true, BackgroundLayout::kColourPerItem, shown, colour_.data()});
  k_.compose(net_.program->data(net_.ends.input), x_.data(), passes, net_.program->order(net_.ends.input), batch_, C_, HW_);
  return passes;
}

// What the losses add to, or leave as it is: they match activations of the pass on b0 alone, and the backward pass of the step before has
// changed the rows of the others.
void OptimisationStep::clear_gradients() {
  std::vector<kernels::FillPart> parts{{net_.program->gradient(net_.ends.logits), passes_ * batch_ * K_}};
  for (const Tap& tap : taps_) {
    const int64_t matched = batch_ * tap.view.C * tap.view.HW;
    parts.push_back({net_.program->gradient(tap.value) + matched, (passes_ - 1) * matched});
  }
  k_.fill_parts(parts, 0.0f);
}

void OptimisationStep::logit_losses() {
  const TraceRange range(backend_, "losses of the logits");
  const int64_t B = batch_, R = robust_;
  const LossWeights& w = recipe_.weights;
  const int32_t* y = label_.data();
  const auto temperature = static_cast<float>(recipe_.kl_temperature), margin = static_cast<float>(recipe_.margin);
  float *z = net_.program->data(net_.ends.logits), *dz = net_.program->gradient(net_.ends.logits);
  if (w.kl > 0) k_.kl_logits(kl_.data(), dz, z, target_.data(), kl_weight_.data(), temperature, B, 1, K_, true);
  k_.cross_entropy(ce_.data(), w.ce > 0 ? dz : nullptr, z, y, ce_weight_.data(), B, 1, K_, true);
  if (w.margin > 0) k_.margin_hinge(margin_.data(), dz, z, y, margin_weight_.data(), margin, B, 1, K_, true);
  if (R > 0) {
    float *zr = z + B * K_, *dzr = dz + B * K_;
    switch (recipe_.robust_form) {
      case RobustForm::kCrossEntropy: k_.cross_entropy(rob_.data(), dzr, zr, y, rob_weight_.data(), B, R, K_, true); break;
      case RobustForm::kKl: k_.kl_logits(rob_.data(), dzr, zr, target_.data(), rob_weight_.data(), temperature, B, R, K_, true); break;
      case RobustForm::kMargin: k_.margin_hinge(rob_.data(), dzr, zr, y, rob_weight_.data(), margin, B, R, K_, true); break;
    }
  }
  if (necessity_) {
    float *zc = z + (passes_ - 1) * B * K_, *dzc = dz + (passes_ - 1) * B * K_;
    if (recipe_.necessity_form == NecessityForm::kHinge)
      k_.necessity_hinge(nec_.data(), dzc, zc, target_.data(), y, nec_weight_.data(), static_cast<float>(recipe_.necessity_margin), B, 1,
                         K_, true);
    else
      k_.necessity_log(nec_.data(), dzc, zc, y, nec_weight_.data(), B, 1, K_, true);
  }
}

void OptimisationStep::tap_losses() {
  if (taps_.empty()) return;
  const TraceRange range(backend_, "losses of the activations");
  for (size_t i = 0; i < taps_.size(); ++i) {
    const Tap& tap = taps_[i];
    const Classifier::TapView& v = tap.view;
    k_.tap_distance(act_.data() + static_cast<int64_t>(i) * batch_, net_.program->gradient(tap.value), net_.program->data(tap.value),
                    tap.prepared.data(), tap.constant.data(), tap.row_weight.data(), tap.distance, v.order, batch_, 1, v.C, v.HW, false);
  }
}

void OptimisationStep::back_to_masks(std::span<const Kernels::Pass> passes) {
  {
    const TraceRange range(backend_, "classifier backward");
    net_.program->backward();
  }
  const TraceRange range(backend_, "compose backward");
  k_.compose_backward(d_mask_.data(), net_.program->gradient(net_.ends.input), x_.data(), passes, net_.program->order(net_.ends.input),
                      batch_, C_, HW_, false);
}

void OptimisationStep::regularise(bool train) {
  const TraceRange range(backend_, "regulariser");
  k_.mask_regulariser(regulariser_.data(), d_mask_.data(), soft_.data(), regulariser_weight_.data(), recipe_.tv_neighbours, batch_, H_, W_,
                      train);
}

void OptimisationStep::back_to_generator() {
  const TraceRange range(backend_, "mask and generator backward");
  float* ds = generator_->logits_gradient();
  k_.mask_activate_backward(ds, d_mask_.data(), soft_.data(), inverse_temperature_.data(), batch_, HW_, false);
  const auto smooth = [&](float* map, int64_t H, int64_t W) {
    if (!smoothing_.idle()) k_.gaussian_smooth(map, smooth_scratch_.data(), smoothing_.view(), step_number(), batch_, H, W);
  };
  Program& program = generator_->program();
  if (generator_->is_grid()) {
    program.backward();
    const Trainable::Parameter& grid = generator_->parameters()[0];
    smooth(program.gradient(grid.value), generator_->shape_of(grid)[2], generator_->shape_of(grid)[3]);
  } else {
    smooth(ds, H_, W_);
    program.backward();
  }
}

void OptimisationStep::optimise() {
  const TraceRange range(backend_, "optimiser");
  kernels::AdamOptions adam;
  adam.beta1 = recipe_.beta1;
  adam.beta2 = recipe_.beta2;
  Program& program = generator_->program();
  std::vector<kernels::AdamTensor> tensors;
  for (const Trainable::Parameter& p : generator_->parameters())
    tensors.push_back({program.data(p.value), p.first.data(), p.second.data(), program.gradient(p.value), p.count});
  k_.adam(tensors, adam, step_number(), learning_rate_.data(), shared_ ? 1.0f / static_cast<float>(batch_) : 1.0f);
}

// Does the hard mask of this step keep the label?
void OptimisationStep::control(bool soft) {
  const TraceRange range(backend_, "controller");
  k_.class_scores(top_.data(), p_label_.data(), net_.program->data(net_.ends.logits), label_.data(), batch_, 1 + robust_, K_);
  const kernels::AreaControl control{recipe_.area.shrink, recipe_.area.grow, fall_steps_, robust_, frozen_.needed, !soft};
  k_.area_control(state_.data(), area_.data(), best_.data(), outcome_.data(), hard_.data(), top_.data(), p_label_.data(), label_.data(),
                  recipe_.area.enabled && !shared_ ? fall_.data() : nullptr, step_number(), control, batch_, HW_);
}

void OptimisationStep::trace() {
  const TraceRange range(backend_, "trace");
  const LossWeights& w = recipe_.weights;
  kernels::StepTerms<float> terms;
  terms.act = act_.data(), terms.act_weight = act_weight_.data(), terms.taps = static_cast<int64_t>(taps_.size());
  if (w.kl > 0) terms.kl = kl_.data();
  terms.ce = ce_.data();
  if (w.margin > 0) terms.margin = margin_.data();
  terms.regulariser = regulariser_.data();
  terms.rob = rob_.data(), terms.robust = robust_;
  if (necessity_) terms.nec = nec_.data();
  terms.outcome = outcome_.data();
  const double weights[kernels::kLossTerms] = {w.act, w.kl, w.ce, w.margin, w.area, w.bin, w.tv, w.rob, w.nec};
  for (int t = 0; t < kernels::kLossTerms; ++t) terms.weight[t] = static_cast<float>(weights[t]);
  k_.record_step(report_.data() + kReportHead, terms, step_number(), kTraceSteps, batch_);

  if (random_ > 0) k_.advance(&cursor_.data()->first, static_cast<uint32_t>(random_));
  k_.advance(step_number(), 1);
}

}  // namespace actmatch
