#include "engine/backend/cuda/ops/conv_step.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

ConvActivation library_activation(const Clip& clip) {
  if (clip.low != 0.0f) return ConvActivation::kNone;
  return clip.high == Clip::kInfinity ? ConvActivation::kRelu : clip.high > 0.0f ? ConvActivation::kClippedRelu : ConvActivation::kNone;
}

void set_activation(PlanKey& key, const Clip& clip) {
  key.activation = library_activation(clip);
  key.ceiling = key.activation == ConvActivation::kClippedRelu ? clip.high : 0.0f;
}

ConvolutionStep::ConvolutionStep(Lowering& l, const kernels::ConvShape& shape, const ConvShape& library_shape)
    : Step(l.engine()), shape_(shape) {
  x_ = l.input_as(0, Layout::kChannelsLast);
  w_ = l.input_weights(1, Layout::kChannelsLast);
  key_.precision = engine().library_precision();
  key_.shape = library_shape;
  const bool nothing_to_do = element_count(l.input_shape(0)) == 0 || element_count(l.output_shape()) == 0;
  // Plans know one set of weights for the whole batch, and y of the size that follows from the rest.
  if (!has_instances(l.input_shape(1)) && !nothing_to_do && library_shape.out_height() == shape.P && library_shape.out_width() == shape.Q)
    library_ = engine().convolutions;
}

void ConvolutionStep::declare_gradients(Lowering& l) {
  differentiate(dw_, w_, l.wants(1));
  if (l.has_input(2)) {
    bias_gradient_ = l.wants(2) ? l.input_f32(2) : nullptr;
    differentiate(db_, bias_gradient_, l.wants(2));
  }
  differentiate(dx_, x_, l.wants(0));
  if (grads.empty()) return;
  if (y_->clip.changes()) backward_reads.push_back(y_);
  if (dw_) backward_reads.push_back(x_);
  if (dx_) backward_reads.push_back(w_);
}

void ConvolutionStep::plan_backward(ConvPass data_pass) {
  if (grads.empty()) return;
  if (dw_) plan_filter();
  if (db_)
    bias_work_ = add_scratch(launch::conv_backward_bias_scratch_bytes(shape_.N, positions(), channels(), shape_.instances),
                             Scratch::When::kBackward);
  if (dx_ && library_) plan_data(data_pass);
}

void ConvolutionStep::plan_filter() {
  PlanKey key = key_;
  key.pass = ConvPass::kBackwardFilter;
  if (library_) filter_runner_ = library_->find(key);
  if (!filter_runner_) {
    filter_work_ = add_scratch(launch::conv_backward_filter_scratch_bytes(shape_), Scratch::When::kBackward);
    return;
  }
  filter_work_ = add_scratch(filter_runner_->workspace_bytes(), Scratch::When::kBackward);
  if (dw_.accumulate || w_->form.store != Store::kF32) dw_scratch_ = add_scratch(w_->bytes, Scratch::When::kBackward);
}

// The derivative of the layer before goes along with the last gradient that reaches it, and so does the sum with the gradients from
// elsewhere, a skip connection's among them: in the plan where that is offered and pays, else with the kernel behind it. A plan may not
// read the tensor that it writes, so its sum lies elsewhere than what it was added to, and the gradient moves; one that the caller reads
// cannot.
void ConvolutionStep::plan_data(ConvPass pass) {
  const bool derivative = dx_.last && x_->clip.changes() && !x_->grad_is_read;
  PlanKey key = key_;
  key.pass = pass;
  PlanKey fused = key;
  fused.residual = dx_.accumulate;
  if (derivative) set_activation(fused, x_->clip);
  // With the sum in the plan and the derivative in another kernel no memory would be spared.
  const bool knows_activation = !derivative || (pass == ConvPass::kBackwardData && fused.activation != ConvActivation::kNone);
  if (knows_activation && (dx_.accumulate ? !x_->persistent_grad : derivative)) data_runner_ = library_->find(fused);
  if (data_runner_) {
    if (dx_.accumulate) {
      moved_ = add_scratch(x_->gradient_bytes(), Scratch::When::kBackward);
      moved_->becomes_gradient_of = x_;
    }
    derivative_in_library_ = derivative;
    if (derivative) take_derivative();
  } else {
    data_runner_ = library_->find(key);
    if (!data_runner_) return;
    if (dx_.accumulate) {
      data_scratch_ = add_scratch(x_->gradient_bytes(), Scratch::When::kBackward);
      if (derivative) take_derivative();
    }
  }
  data_work_ = add_scratch(data_runner_->workspace_bytes(), Scratch::When::kBackward);
}

void ConvolutionStep::take_derivative() {
  x_->derivative_taken = takes_derivative_ = true;
  backward_reads.push_back(x_);
}

std::string ConvolutionStep::implementation() const {
  // Where the library was asked for a plan and had none, that is said.
  const auto by = [this](const std::shared_ptr<ConvRunner>& runner) {
    return runner ? runner->description() : library_ ? std::string("kernel for lack of a plan") : std::string("kernel");
  };
  std::string text = by(forward_runner_);
  if (dx_) {
    text += " | " + by(data_runner_);
    if (moved_) text += " + skip";
    if (derivative_in_library_) text += " + derivative";
  }
  if (dw_) text += " | " + by(filter_runner_);
  return text;
}

}  // namespace actmatch::cuda
