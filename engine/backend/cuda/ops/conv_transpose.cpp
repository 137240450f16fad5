// Transposed convolution: the gradient of a convolution with respect to its input, run forward. With one set of weights for the whole batch
// it is the library's plan for that gradient, and its own gradient the convolution's forward plan; where every picture of a batch has
// weights of its own, as in generators, kernels of our own do it.
#include "engine/backend/cuda/ops/build_for.h"
#include "engine/backend/cuda/ops/conv_shapes.h"
#include "engine/backend/cuda/ops/conv_step.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

namespace {

// shape_ is the convolution's, whose y is our x, and the other way round.
template <class T>
class ConvTransposeStep : public ConvolutionStep {
 public:
  explicit ConvTransposeStep(Lowering& l)
      : ConvolutionStep(l, kernel_shape(attrs_of(l), l.input_shape(0), l.input_shape(1), l.output_shape()),
                        library_shape(attrs_of(l), instance_shape(l.input_shape(1)), l.output_shape())) {
    if (library_) {
      PlanKey key = key_;
      key.pass = ConvPass::kBackwardData;
      forward_runner_ = library_->find(key);
      if (forward_runner_) forward_work_ = add_scratch(forward_runner_->workspace_bytes(), Scratch::When::kForward);
    }
    if (l.has_input(2)) bias_ = forward_runner_ ? l.input_weights(2, Layout::kRows) /* in the type of y */ : l.input_f32(2);
    y_ = l.output(Layout::kChannelsLast);
    reads = {x_, w_};
    if (bias_) reads.push_back(bias_);
    writes = {y_};
    declare_gradients(l);
  }

  void plan() override { plan_backward(ConvPass::kForward); }

  void forward() override {
    const Clip& clip = y_->clip;
    if (!forward_runner_) {
      ACTMATCH_CUDA(launch::conv_backward_data(stream(), y_->as<T>(), x_->as<T>(), w_->as<T>(), bias_ ? bias_->as<float>() : nullptr,
                                               static_cast<const T*>(nullptr), shape_, clip));
      return;
    }
    forward_runner_->run({y_->data, w_->data, x_->data, nullptr, nullptr, nullptr}, address(forward_work_));
    T* y = y_->as<T>();
    const int64_t C = shape_.C, rows = shape_.N * shape_.H * shape_.W;
    if (bias_)
      ACTMATCH_CUDA(launch::binary(stream(), y, y, bias_->as<T>(), launch::BinaryOp::kAdd, {rows, C}, {C, 1}, {C, 1}, {0, 1}, clip));
    else if (clip.changes())
      ACTMATCH_CUDA(launch::clip_inplace(stream(), y, clip, y_->count()));
  }

  void backward() override {
    undo_clip<T>(*y_);
    const T* dy = y_->grad_as<T>();
    if (dw_) filter_gradient<T>(dy, x_->as<T>());
    if (db_) bias_gradient<T>(dy);
    if (!dx_) return;
    if (data_runner_) {
      data_gradient<T>({y_->grad, w_->data, nullptr, nullptr, nullptr, nullptr}, &ConvTensors::y);
    } else {
      T* dx = x_->grad_as<T>();
      ACTMATCH_CUDA(launch::conv_forward(stream(), dx, dy, w_->as<T>(), static_cast<const float*>(nullptr), dx_.accumulate ? dx : nullptr,
                                         shape_, kernels::kNoClip));
    }
  }

 private:
  static const ConvTransposeAttrs& attrs_of(const Lowering& l) { return std::get<ConvTransposeAttrs>(l.node().attrs); }
};

}  // namespace

void build_conv_transpose(Lowering& l) { add_step_for<ConvTransposeStep>(l, l.store()); }

}  // namespace actmatch::cuda
