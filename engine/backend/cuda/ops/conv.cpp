// Convolution: y = clip(x * w + b + residual). Backward: dx = dy * w', dw = x * dy, db = sum dy, dresidual = dy.
// By the library where it has a plan, otherwise by kernels of our own: depthwise 3x3, weights for each part of the batch, and whatever the
// library refuses.
#include "engine/backend/cuda/ops/build_for.h"
#include "engine/backend/cuda/ops/conv_shapes.h"
#include "kernels/cuda.h"
#include "kernels/cuda_conv.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

namespace {

ConvActivation library_activation(const Clip& clip) {
  if (clip.low != 0.0f) return ConvActivation::kNone;
  return clip.high == Clip::kInfinity ? ConvActivation::kRelu : clip.high > 0.0f ? ConvActivation::kClippedRelu : ConvActivation::kNone;
}

void set_activation(PlanKey& key, const Clip& clip) {
  key.activation = library_activation(clip);
  key.ceiling = key.activation == ConvActivation::kClippedRelu ? clip.high : 0.0f;
}

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
class ConvStep : public Step {
 public:
  explicit ConvStep(Lowering& l) : Step(l.engine()), clip_(l.clip()) {
    const auto& attrs = std::get<ConvAttrs>(l.node().attrs);
    shape_ = kernel_shape(attrs, l.input_shape(0), l.input_shape(1), l.output_shape());
    x_ = l.input_as(0, Layout::kChannelsLast);
    w_ = l.input_weights(1, Layout::kChannelsLast);
    if (l.has_residual()) residual_ = l.residual();
    const bool nothing_to_do = element_count(l.input_shape(0)) == 0 || element_count(l.output_shape()) == 0;
    if (shape_.instances == 1 && !has_instances(l.input_shape(1)) && !nothing_to_do) library_ = engine().convolutions;
    key_.precision = engine().library_precision();
    if (library_) key_.shape = library_shape(attrs, l.input_shape(0), l.input_shape(1));
    choose_forward(l);
    y_ = l.output(Layout::kChannelsLast);
    reads = {x_, w_};
    for (Slot* s : {bias_, residual_})
      if (s) reads.push_back(s);
    writes = {y_};

    // In the order of backward().
    if (l.has_residual()) differentiate(dresidual_, residual_, l.wants_residual());
    differentiate(dw_, w_, l.wants(1));
    if (l.has_input(2)) {
      bias_gradient_ = l.wants(2) ? l.input_f32(2) : nullptr;
      differentiate(db_, bias_gradient_, l.wants(2));
    }
    differentiate(dx_, x_, l.wants(0));
    if (grads.empty()) return;
    if (clip_.changes()) backward_reads.push_back(y_);
    if (dw_) backward_reads.push_back(x_);
    if (dx_) backward_reads.push_back(w_);
  }

  void plan() override {
    if (grads.empty()) return;
    if (dw_) {
      PlanKey key = key_;
      key.pass = ConvPass::kBackwardFilter;
      if (library_) filter_runner_ = library_->find(key);
      if (filter_runner_) {
        filter_work_ = add_scratch(filter_runner_->workspace_bytes(), Scratch::When::kBackward);
        if (dw_.accumulate || sizeof(T) != sizeof(float))
          dw_scratch_ = add_scratch(static_cast<size_t>(w_->count()) * sizeof(T), Scratch::When::kBackward);
      } else {
        filter_work_ = add_scratch(launch::conv_backward_filter_scratch_bytes(shape_), Scratch::When::kBackward);
      }
    }
    if (db_)
      bias_work_ = add_scratch(launch::conv_backward_bias_scratch_bytes(shape_.N, shape_.P * shape_.Q, shape_.K, shape_.instances),
                               Scratch::When::kBackward);
    if (dx_ && library_) plan_backward_data();
  }

  void forward() override {
    if (forward_runner_) {
      forward_runner_->run({x_->data, w_->data, y_->data, bias_in_library_ ? bias_->data : nullptr,
                            residual_in_library_ ? residual_->data : nullptr, nullptr},
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
    if (dresidual_) convert(stream(), residual_->grad, residual_->grad_form(), y_->grad, y_->grad_form(), y_->shape, dresidual_.accumulate);
    if (dw_) backward_filter(dy);
    if (db_)
      ACTMATCH_CUDA(launch::conv_backward_bias(stream(), bias_gradient_->grad_as<float>(), dy, shape_.N, shape_.P * shape_.Q, shape_.K,
                                               shape_.instances, db_.accumulate, address(bias_work_)));
    if (dx_) backward_data(dy);
  }

  std::string implementation() const override {
    std::string text = forward_runner_ ? forward_runner_->description() : "kernel";
    if (dx_) text += data_runner_ ? " | " + data_runner_->description() : " | kernel";
    if (dw_) text += filter_runner_ ? " | " + filter_runner_->description() : " | kernel";
    return text;
  }

 private:
  // As much as possible in one plan; what it leaves is a kernel of our own behind it.
  void choose_forward(Lowering& l) {
    const bool has_bias = l.has_input(2);
    if (library_) {
      PlanKey key = key_;
      key.pass = ConvPass::kForward;
      key.bias = has_bias;
      const auto attempt = [&](bool with_residual, bool with_clip) {
        if (forward_runner_) return;
        key.residual = with_residual;
        key.activation = ConvActivation::kNone;
        key.ceiling = 0.0f;
        if (with_clip) set_activation(key, clip_);
        forward_runner_ = library_->find(key);
        residual_in_library_ = with_residual;
        clip_in_library_ = with_clip;
      };
      const bool clip_fits = library_activation(clip_) != ConvActivation::kNone;
      if (residual_ && clip_fits) attempt(true, true);
      if (residual_) attempt(true, false);
      if (!residual_ && clip_fits) attempt(false, true);
      attempt(false, false);
    }
    if (forward_runner_) {
      forward_work_ = add_scratch(forward_runner_->workspace_bytes(), Scratch::When::kForward);
      if (has_bias) bias_ = l.input_weights(2, Layout::kRows);  // in the type of y
      bias_in_library_ = has_bias;
    } else if (has_bias) {
      bias_ = l.input_f32(2);
    }
  }

  // The derivative of the layer before goes along with the last gradient that reaches it.
  bool may_take_derivative() const { return dx_.last && x_->clip.changes() && !x_->grad_is_read; }

  void plan_backward_data() {
    PlanKey key = key_;
    key.pass = ConvPass::kBackwardData;
    if (may_take_derivative() && !dx_.accumulate && library_activation(x_->clip) != ConvActivation::kNone) {
      set_activation(key, x_->clip);
      data_runner_ = library_->find(key);
      if (data_runner_) {
        derivative_in_library_ = true;
        take_derivative();
      }
    }
    if (!data_runner_) {
      key.activation = ConvActivation::kNone;
      key.ceiling = 0.0f;
      data_runner_ = library_->find(key);
      if (!data_runner_) return;
      if (dx_.accumulate) {
        // Not with the sum as an epilogue: a plan may not read the tensor that it writes.
        dx_scratch_ = add_scratch(x_->gradient_bytes(), Scratch::When::kBackward);
        if (may_take_derivative()) take_derivative();
      }
    }
    data_work_ = add_scratch(data_runner_->workspace_bytes(), Scratch::When::kBackward);
  }
  void take_derivative() {
    x_->derivative_taken = takes_derivative_ = true;
    backward_reads.push_back(x_);
  }

  void backward_filter(const T* dy) {
    float* dw = w_->grad_as<float>();
    if (!filter_runner_) {
      ACTMATCH_CUDA(launch::conv_backward_filter(stream(), dw, x_->as<T>(), dy, shape_, dw_.accumulate, address(filter_work_)));
      return;
    }
    void* target = dw_scratch_ ? address(dw_scratch_) : dw;
    filter_runner_->run({x_->data, target, y_->grad, nullptr, nullptr, nullptr}, address(filter_work_));
    if (dw_scratch_)
      ACTMATCH_CUDA(launch::scale(stream(), dw, static_cast<const T*>(address(dw_scratch_)), 1.0f, w_->count(), dw_.accumulate));
  }

  void backward_data(const T* dy) {
    T* dx = x_->grad_as<T>();
    if (!data_runner_) {
      ACTMATCH_CUDA(launch::conv_backward_data(stream(), dx, dy, w_->as<T>(), static_cast<const float*>(nullptr),
                                               dx_.accumulate ? dx : nullptr, shape_, kernels::kNoClip));
      return;
    }
    void* target = dx_scratch_ ? address(dx_scratch_) : dx;
    data_runner_->run({target, w_->data, y_->grad, nullptr, nullptr, derivative_in_library_ ? x_->data : nullptr}, address(data_work_));
    if (!dx_scratch_) return;
    const T* more = static_cast<const T*>(address(dx_scratch_));
    if (takes_derivative_)
      ACTMATCH_CUDA(launch::add_clip_backward(stream(), dx, dx, more, x_->as<T>(), x_->clip, x_->count()));
    else
      ACTMATCH_CUDA(launch::add(stream(), dx, dx, more, kernels::kNoClip, x_->count()));
  }

  kernels::ConvShape shape_;
  PlanKey key_;
  Clip clip_;
  ConvLibrary* library_ = nullptr;
  std::shared_ptr<ConvRunner> forward_runner_, data_runner_, filter_runner_;
  bool bias_in_library_ = false, residual_in_library_ = false, clip_in_library_ = false;
  bool derivative_in_library_ = false, takes_derivative_ = false;
  Slot *x_ = nullptr, *w_ = nullptr, *bias_ = nullptr, *bias_gradient_ = nullptr, *residual_ = nullptr, *y_ = nullptr;
  Scratch *forward_work_ = nullptr, *data_work_ = nullptr, *filter_work_ = nullptr, *bias_work_ = nullptr;
  Scratch *dx_scratch_ = nullptr, *dw_scratch_ = nullptr;
  GradTarget dx_, dw_, db_, dresidual_;
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
