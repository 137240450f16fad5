// What convolution and transposed convolution share: both are a oneDNN primitive with weights, a bias and an activation epilogue.
#pragma once

#include <string>
#include <unordered_map>

#include "engine/backend/cpu/lowering.h"
#include "engine/backend/cpu/ops/conv_subpixel.h"

namespace actmatch::cpu {

// oneDNN falls back to plain loops ("ref") for shapes that no optimised code takes.
bool is_reference(const std::string& implementation);
bool is_gemm(const std::string& implementation);

// `Traits` supplies the primitive types and the functions that make their descriptors.
template <class Traits>
class ConvLikeStep : public Step {
 public:
  using Forward = typename Traits::Forward;
  using BackwardData = typename Traits::BackwardData;
  using BackwardWeights = typename Traits::BackwardWeights;

  static void build(Lowering& lowering, const MemoryDesc& weights_source, const std::vector<int64_t>& weights_dims,
                    const ConvGeometry& geometry);

  void plan() override;
  void bind() override;
  void forward() override;
  void backward() override;
  std::string implementation() const override { return implementation_; }

 private:
  explicit ConvLikeStep(const dnnl::engine& engine) : engine_(engine), stream_(engine) {}
  void prepare_backward_data(Lowering&, const MemoryDesc& weights_source, const std::vector<int64_t>& weights_dims, const ConvGeometry&,
                             const typename Forward::primitive_desc&);
  void prepare_backward_weights(Lowering&, const ConvGeometry&, const typename Forward::primitive_desc&);

  dnnl::engine engine_;
  dnnl::stream stream_;
  std::string implementation_;
  Slot *x_ = nullptr, *w_ = nullptr, *bias_ = nullptr, *y_ = nullptr;
  Slot* w_backward_ = nullptr;  // the weights as the backward primitive likes them
  Activation activation_;
  bool activation_in_primitive_ = false;
  GradTarget dx_, dw_, db_;

  Forward forward_;
  BackwardData backward_data_;
  std::unique_ptr<SubpixelBackward> subpixel_;  // in place of backward_data_ where it is quicker
  BackwardWeights backward_weights_;
  MemoryDesc forward_scratchpad_, data_scratchpad_, weights_scratchpad_;
  MemoryDesc data_dy_, data_dx_, data_w_, weights_dw_, weights_dy_, weights_x_, bias_desc_;
  Scratch *forward_scratch_ = nullptr, *data_scratch_ = nullptr, *weights_scratch_ = nullptr;
  Scratch *dy_scratch_ = nullptr, *w_scratch_ = nullptr, *dy_weights_scratch_ = nullptr, *x_weights_scratch_ = nullptr,
          *unwanted_dw_ = nullptr;
  dnnl::reorder dy_reorder_, w_reorder_, dy_weights_reorder_, x_weights_reorder_;
  GradSink dx_sink_, dw_sink_, db_sink_;
  std::unordered_map<int, dnnl::memory> forward_args_, data_args_, weights_args_;
};

}  // namespace actmatch::cpu
