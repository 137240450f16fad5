// Transposed convolution: the gradient of a convolution with respect to its input, run forward. Kernels of our own: it stands in
// generators, where every picture of a batch has weights of its own.
#include "engine/backend/cuda/ops/build_for.h"
#include "engine/backend/cuda/ops/conv_shapes.h"
#include "kernels/cuda_conv.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

namespace {

template <class T>
class ConvTransposeStep : public Step {
 public:
  explicit ConvTransposeStep(Lowering& l) : Step(l.engine()) {
    const auto& attrs = std::get<ConvTransposeAttrs>(l.node().attrs);
    shape_ = kernel_shape(attrs, l.input_shape(0), l.input_shape(1), l.output_shape());
    x_ = l.input_as(0, Layout::kChannelsLast);
    w_ = l.input_weights(1, Layout::kChannelsLast);
    if (l.has_input(2)) bias_ = l.input_f32(2);
    y_ = l.output(Layout::kChannelsLast);
    reads = {x_, w_};
    if (bias_) reads.push_back(bias_);
    writes = {y_};
    differentiate(dw_, w_, l.wants(1));
    differentiate(db_, bias_, l.wants(2));
    differentiate(dx_, x_, l.wants(0));
    if (grads.empty()) return;
    if (l.clip().changes()) backward_reads.push_back(y_);
    if (dw_) backward_reads.push_back(x_);
    if (dx_) backward_reads.push_back(w_);
    if (dw_) filter_work_ = add_scratch(launch::conv_backward_filter_scratch_bytes(shape_), Scratch::When::kBackward);
    if (db_)
      bias_work_ = add_scratch(launch::conv_backward_bias_scratch_bytes(shape_.N, shape_.H * shape_.W, shape_.C, shape_.instances),
                               Scratch::When::kBackward);
  }
  void forward() override {
    ACTMATCH_CUDA(launch::conv_backward_data(stream(), y_->as<T>(), x_->as<T>(), w_->as<T>(), bias_ ? bias_->as<float>() : nullptr,
                                             static_cast<const T*>(nullptr), shape_, y_->clip));
  }
  void backward() override {
    undo_clip<T>(*y_);
    const T* dy = y_->grad_as<T>();
    if (dw_)
      ACTMATCH_CUDA(
          launch::conv_backward_filter(stream(), w_->grad_as<float>(), dy, x_->as<T>(), shape_, dw_.accumulate, address(filter_work_)));
    if (db_)
      ACTMATCH_CUDA(launch::conv_backward_bias(stream(), bias_->grad_as<float>(), dy, shape_.N, shape_.H * shape_.W, shape_.C,
                                               shape_.instances, db_.accumulate, address(bias_work_)));
    if (dx_)
      ACTMATCH_CUDA(launch::conv_forward(stream(), x_->grad_as<T>(), dy, w_->as<T>(), static_cast<const float*>(nullptr),
                                         dx_.accumulate ? x_->grad_as<T>() : nullptr, shape_, kernels::kNoClip));
  }

 private:
  kernels::ConvShape shape_;
  Slot *x_ = nullptr, *w_ = nullptr, *bias_ = nullptr, *y_ = nullptr;
  Scratch *filter_work_ = nullptr, *bias_work_ = nullptr;
  GradTarget dx_, dw_, db_;
};

}  // namespace

void build_conv_transpose(Lowering& l) { add_step_for<ConvTransposeStep>(l, l.store()); }

}  // namespace actmatch::cuda
