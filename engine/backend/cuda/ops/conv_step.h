// What steps of convolutions and of transposed ones have in common: plans of the library where it has them, kernels of our own where not,
// and how the gradients of weights, bias and input come about.
#pragma once

#include "engine/backend/cuda/cuda_lowering.h"
#include "engine/backend/cuda/ops/conv_rest.h"
#include "kernels/cuda_conv.h"

namespace actmatch::cuda {

// A ReLU, plain or clipped; kNone for clips that plans do not know.
ConvActivation library_activation(const Clip& clip);
void set_activation(PlanKey& key, const Clip& clip);

class ConvolutionStep : public Step {
 public:
  std::string implementation() const override;

 protected:
  // Takes the node's x and weights. `shape` and `library_shape` are those of the convolution: of a transposed one, whose backward pass it
  // is.
  ConvolutionStep(Lowering& l, const kernels::ConvShape& shape, const ConvShape& library_shape);

  // Of weights, bias and x, in the order of backward(); when y is known. What is differentiated already comes first.
  void declare_gradients(Lowering& l);
  // In plan(). `data_pass`: the pass of the convolution that gives the gradient of x.
  void plan_backward(ConvPass data_pass);

  // x and dy are those of the convolution.
  template <class T>
  void filter_gradient(const T* x, const T* dy) {
    float* dw = w_->grad_as<float>();
    if (!filter_runner_) {
      ACTMATCH_CUDA(kernels::cuda::conv_backward_filter(stream(), dw, x, dy, shape_, dw_.accumulate, address(filter_work_)));
      return;
    }
    ConvTensors tensors;
    tensors.x = const_cast<T*>(x);  // read only: the pass writes w
    tensors.y = const_cast<T*>(dy);
    tensors.w = dw_scratch_ ? address(dw_scratch_) : dw;
    filter_runner_->run(tensors, address(filter_work_));
    if (dw_scratch_)
      ACTMATCH_CUDA(kernels::cuda::scale(stream(), dw, static_cast<const T*>(address(dw_scratch_)), 1.0f, w_->count(), dw_.accumulate));
  }
  template <class T>
  void bias_gradient(const T* dy) {
    ACTMATCH_CUDA(kernels::cuda::conv_backward_bias(stream(), bias_gradient_->grad_as<float>(), dy, shape_.N, positions(), channels(),
                                                    shape_.instances, db_.accumulate, address(bias_work_)));
  }
  // By the library, when data_runner_ is there. `tensors` has w and dy; `result` says which of them is written.
  template <class T>
  void data_gradient(ConvTensors tensors, void* ConvTensors::*result) {
    T* dx = x_->grad_as<T>();
    tensors.*result = moved_ ? address(moved_) : data_scratch_ ? address(data_scratch_) : dx;
    if (moved_) tensors.addend = dx;
    if (derivative_in_library_) tensors.saved = x_->data;
    data_runner_->run(tensors, address(data_work_));
    if (moved_) x_->grad = moved_->data;
    if (data_scratch_)
      add_gradient(stream(), dx, static_cast<const T*>(address(data_scratch_)), takes_derivative_ ? x_->as<T>() : nullptr,
                   takes_derivative_ ? x_->clip : kernels::kNoClip, x_->count());
  }

  kernels::ConvShape shape_;
  PlanKey key_;                     // precision and shape
  ConvLibrary* library_ = nullptr;  // null where it cannot do this
  std::shared_ptr<ConvRunner> forward_runner_, data_runner_, filter_runner_;
  Scratch* forward_work_ = nullptr;
  Slot *x_ = nullptr, *w_ = nullptr, *bias_ = nullptr, *y_ = nullptr;
  GradTarget dx_, dw_, db_;

 private:
  int64_t channels() const { return y_->shape[1]; }
  int64_t positions() const { return y_->shape[2] * y_->shape[3]; }
  void plan_filter();
  void plan_data(ConvPass pass);
  void take_derivative();

  Slot* bias_gradient_ = nullptr;
  bool derivative_in_library_ = false, takes_derivative_ = false;
  Scratch *data_work_ = nullptr, *filter_work_ = nullptr, *bias_work_ = nullptr;
  // The gradient of x: what is added to the one that is there, or the sum of both, to which the gradient moves.
  Scratch *data_scratch_ = nullptr, *moved_ = nullptr;
  Scratch* dw_scratch_ = nullptr;
};

}  // namespace actmatch::cuda
