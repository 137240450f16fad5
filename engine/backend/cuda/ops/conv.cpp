// Convolution: y = clip(x * w + b + residual). Backward: dx = dy * w', dw = x * dy, db = sum dy, dresidual = dy.
// By the library where it has a plan, otherwise by kernels of our own: depthwise 3x3, weights for each part of the batch, and whatever the
// library refuses.
#include "engine/backend/cuda/ops/build_for.h"
#include "engine/backend/cuda/ops/conv_shapes.h"
#include "engine/backend/cuda/ops/conv_step.h"
#include "kernels/cuda.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

namespace {

// [C, 1, 3, 3] -> [3, 3, C], which the depthwise kernels read.
template <class T>
std::vector<std::byte> depthwise_filter(const Tensor& w) {
  const int64_t C = w.shape()[0];
  std::vector<std::byte> bytes(static_cast<size_t>(9 * C) * sizeof(T));
  T* out = reinterpret_cast<T*>(bytes.data());
  for (int64_t c = 0; c < C; ++c)
    for (int64_t r = 0; r < 9; ++r) out[r * C + c] = kernels::from_float<T>(w.data<float>()[c * 9 + r]);
  return bytes;
}

template <class T>
class DepthwiseStep : public Step {
 public:
  explicit DepthwiseStep(Lowering& l) : Step(l.engine()), clip_(l.clip()) {
    const auto& attrs = std::get<ConvAttrs>(l.node().attrs);
    shape_ = depthwise_shape(attrs, l.input_shape(0), l.output_shape());
    x_ = l.input_as(0, Layout::kChannelsLast);
    filter_ = l.constant_as(1, "depthwise", store_of<T>(), depthwise_filter<T>);
    if (l.has_input(2)) bias_ = l.input_f32(2);
    y_ = l.output(Layout::kChannelsLast);
    reads = {x_, filter_};
    if (bias_) reads.push_back(bias_);
    writes = {y_};
    differentiate(dx_, x_, l.wants(0));
    if (dx_ && clip_.changes()) backward_reads = {y_};
  }
  void forward() override {
    ACTMATCH_CUDA(
        launch::depthwise(stream(), y_->as<T>(), x_->as<T>(), filter_->as<T>(), bias_ ? bias_->as<float>() : nullptr, shape_, clip_));
  }
  void backward() override {
    const Clip clip = y_->derivative_taken ? kernels::kNoClip : clip_;
    ACTMATCH_CUDA(launch::depthwise_backward(stream(), x_->grad_as<T>(), y_->grad_as<T>(), clip.changes() ? y_->as<T>() : nullptr,
                                             filter_->as<T>(), shape_, clip, dx_.accumulate));
  }
  std::string implementation() const override { return "depthwise kernel"; }

 private:
  kernels::DepthwiseShape shape_;
  Clip clip_;
  Slot *x_ = nullptr, *filter_ = nullptr, *bias_ = nullptr, *y_ = nullptr;
  GradTarget dx_;
};

template <class T>
class ConvStep : public ConvolutionStep {
 public:
  explicit ConvStep(Lowering& l)
      : ConvolutionStep(l, kernel_shape(attrs_of(l), l.input_shape(0), l.input_shape(1), l.output_shape()),
                        library_shape(attrs_of(l), l.input_shape(0), instance_shape(l.input_shape(1)))),
        clip_(l.clip()) {
    if (l.has_residual()) residual_ = l.residual();
    choose_forward(l);
    y_ = l.output(Layout::kChannelsLast);
    reads = {x_, w_};
    for (Slot* s : {bias_, residual_})
      if (s) reads.push_back(s);
    writes = {y_};
    if (l.has_residual()) differentiate(dresidual_, residual_, l.wants_residual());
    declare_gradients(l);
  }

  // The gradient of a skip is that of the sum. Where it is the first to reach the value it came from, and this is the last that the sum's
  // is needed for, nothing is copied.
  void plan() override {
    if (dresidual_ && !dresidual_.accumulate && residual_ != x_ && !residual_->persistent_grad && !residual_->shares_gradient &&
        residual_->grad_form() == y_->grad_form())
      residual_->continues = y_;
    plan_backward(ConvPass::kBackwardData);
  }

  void forward() override {
    if (forward_runner_) {
      forward_runner_->run(
          {x_->data, w_->data, y_->data, bias_ ? bias_->data : nullptr, residual_in_library_ ? residual_->data : nullptr, nullptr},
          address(forward_work_));
      if (residual_ && !residual_in_library_)
        ACTMATCH_CUDA(launch::add(stream(), y_->as<T>(), y_->as<T>(), residual_->as<T>(), clip_, y_->count()));
      else if (clip_.changes() && !clip_in_library_)
        ACTMATCH_CUDA(launch::clip_inplace(stream(), y_->as<T>(), clip_, y_->count()));
      return;
    }
    ACTMATCH_CUDA(launch::conv_forward(stream(), y_->as<T>(), x_->as<T>(), w_->as<T>(), bias_ ? bias_->as<float>() : nullptr,
                                       residual_ ? residual_->as<T>() : nullptr, shape_, clip_));
  }

  void backward() override {
    undo_clip<T>(*y_);
    const T* dy = y_->grad_as<T>();
    if (dresidual_ && residual_->continues)
      residual_->grad = y_->grad;
    else if (dresidual_)
      convert(stream(), residual_->grad, residual_->grad_form(), y_->grad, y_->grad_form(), y_->shape, dresidual_.accumulate);
    if (dw_) filter_gradient<T>(x_->as<T>(), dy);
    if (db_) bias_gradient<T>(dy);
    if (!dx_) return;
    if (data_runner_) {
      data_gradient<T>({nullptr, w_->data, y_->grad, nullptr, nullptr, nullptr}, &ConvTensors::x);
    } else {
      T* dx = x_->grad_as<T>();
      ACTMATCH_CUDA(launch::conv_backward_data(stream(), dx, dy, w_->as<T>(), static_cast<const float*>(nullptr),
                                               dx_.accumulate ? dx : nullptr, shape_, kernels::kNoClip));
    }
  }

 private:
  static const ConvAttrs& attrs_of(const Lowering& l) { return std::get<ConvAttrs>(l.node().attrs); }

  // As much as possible in one plan; what it leaves is a kernel of our own behind it.
  void choose_forward(Lowering& l) {
    const bool has_bias = l.has_input(2);
    if (library_) {
      const ConvActivation wanted = library_activation(clip_);
      PlanKey key = key_;
      key.pass = ConvPass::kForward;
      key.bias = has_bias;
      const auto attempt = [&](bool with_residual, ConvActivation activation) {
        if (forward_runner_) return;
        key.residual = with_residual;
        key.activation = activation;
        key.ceiling = activation == ConvActivation::kClippedRelu ? clip_.high : 0.0f;
        forward_runner_ = library_->find(key);
        residual_in_library_ = with_residual;
        clip_in_library_ = activation != ConvActivation::kNone && activation == wanted;
      };
      if (wanted != ConvActivation::kNone) attempt(residual_ != nullptr, wanted);
      // A ceiling is left to the next kernel; with a plain ReLU it is the plan that was compared with the clipped one.
      if (wanted == ConvActivation::kClippedRelu) attempt(residual_ != nullptr, ConvActivation::kRelu);
      if (residual_) attempt(true, ConvActivation::kNone);
      attempt(false, ConvActivation::kNone);
    }
    if (forward_runner_) {
      forward_work_ = add_scratch(forward_runner_->workspace_bytes(), Scratch::When::kForward);
      if (has_bias) bias_ = l.input_weights(2, Layout::kRows);  // in the type of y
    } else if (has_bias) {
      bias_ = l.input_f32(2);
    }
  }

  Clip clip_;
  bool residual_in_library_ = false, clip_in_library_ = false;
  Slot* residual_ = nullptr;
  GradTarget dresidual_;
};

}  // namespace

void build_conv(Lowering& l) {
  const auto& attrs = std::get<ConvAttrs>(l.node().attrs);
  if (l.input_is_constant(1) && !l.has_residual() && is_depthwise(attrs, l.input_shape(0), l.input_shape(1)) && !l.wants(2))
    add_step_for<DepthwiseStep>(l, l.store());
  else
    add_step_for<ConvStep>(l, l.store());
}

}  // namespace actmatch::cuda
