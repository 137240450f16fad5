#include "engine/backend/cpu/ops/conv_common.h"

#include <type_traits>

#include "engine/backend/cpu/loops.h"
#include "engine/backend/cpu/ops/conv_traits.h"

namespace actmatch::cpu {

bool is_reference(const std::string& implementation) { return implementation.find("ref") != std::string::npos; }
bool is_gemm(const std::string& implementation) {
  return implementation.find("gemm:") != std::string::npos && implementation.find("brg") == std::string::npos;
}

namespace {

dnnl::memory memory_of(const MemoryDesc& desc, const dnnl::engine& engine, void* data) { return dnnl::memory(desc, engine, data); }
void* address(const Scratch* scratch) { return scratch ? scratch->data : nullptr; }

}  // namespace

template <class Traits>
void ConvLikeStep<Traits>::build(Lowering& l, const MemoryDesc& weights_source, const std::vector<int64_t>& weights_dims,
                                 const ConvGeometry& geometry) {
  auto step = std::unique_ptr<ConvLikeStep>(new ConvLikeStep(l.engine()));
  ConvLikeStep& s = *step;
  const MemoryDesc x = any_desc(l.input_shape(0)), w = any_desc(weights_dims), y = any_desc(l.output_shape());
  const bool has_bias = l.has_input(2);
  const MemoryDesc bias = has_bias ? plain_desc(l.input_shape(2)) : MemoryDesc();
  const bool training = l.training() && (l.wants(0) || l.wants(1) || l.wants(2));
  s.activation_ = l.activation();

  dnnl::primitive_attr attr = user_scratchpad_attr();
  typename Forward::primitive_desc pd;
  if (s.activation_.present) {  // inside the primitive when an optimised implementation takes it
    dnnl::primitive_attr fused = user_scratchpad_attr();
    dnnl::post_ops ops;
    append_activation(ops, s.activation_.relu, s.activation_.low, s.activation_.high);
    fused.set_post_ops(ops);
    try {
      pd = Traits::forward_pd(l.engine(), training, x, w, has_bias ? &bias : nullptr, y, geometry, fused);
      s.activation_in_primitive_ = !is_reference(pd.impl_info_str());
    } catch (const dnnl::error&) {
      s.activation_in_primitive_ = false;
    }
  }
  if (!s.activation_in_primitive_) pd = Traits::forward_pd(l.engine(), training, x, w, has_bias ? &bias : nullptr, y, geometry, attr);
  s.implementation_ = pd.impl_info_str();
  s.x_ = l.input_as(0, pd.src_desc());
  s.w_ = l.weights_as(1, weights_source, pd.weights_desc());
  if (has_bias) s.bias_ = l.input_plain(2);
  s.y_ = l.output(pd.dst_desc());
  s.bias_desc_ = bias;
  s.forward_ = Forward(pd);
  s.forward_scratchpad_ = pd.scratchpad_desc();
  s.forward_scratch_ = s.add_scratch(s.forward_scratchpad_.get_size(), Scratch::When::kForward);
  s.reads = {s.x_, s.w_};
  if (has_bias) s.reads.push_back(s.bias_);
  s.writes = {s.y_};
  if (training) {
    if (s.activation_.present) s.backward_reads.push_back(s.y_);
    if (l.wants(1) || l.wants(2)) s.prepare_backward_weights(l, geometry, pd);  // in the order of backward()
    if (l.wants(0)) s.prepare_backward_data(l, weights_source, weights_dims, geometry, pd);
  }
  l.add_step(std::move(step));
}

template <class Traits>
void ConvLikeStep<Traits>::prepare_backward_data(Lowering& l, const MemoryDesc& weights_source, const std::vector<int64_t>& weights_dims,
                                                 const ConvGeometry& geometry, const typename Forward::primitive_desc& hint) {
  dx_.slot = x_;
  grads.push_back(&dx_);
  if constexpr (std::is_same_v<Traits, ConvTraits>) subpixel_ = SubpixelBackward::make(l, y_->desc);
  if (subpixel_) {
    subpixel_->plan(*this);
    dx_sink_.set(&dx_, plain_desc(l.input_shape(0)), x_->desc);
    implementation_ += " | " + subpixel_->implementation();
    return;
  }
  const dnnl::primitive_attr attr = user_scratchpad_attr();
  const MemoryDesc any_w = any_desc(weights_dims);
  // Gradients live in the layout of their values, so that layout is tried first; only when it would fall back to slow code, and oneDNN's
  // own choice would not, is the gradient reordered on the way.
  typename BackwardData::primitive_desc pd =
      Traits::backward_data_pd(l.engine(), any_desc(l.input_shape(0)), any_w, any_desc(l.output_shape()), geometry, attr, hint);
  try {
    auto forced = Traits::backward_data_pd(l.engine(), x_->desc, any_w, y_->desc, geometry, attr, hint);
    const std::string implementation = forced.impl_info_str(), free_choice = pd.impl_info_str();
    const bool slower = (is_reference(implementation) && !is_reference(free_choice)) || (is_gemm(implementation) && !is_gemm(free_choice));
    if (!slower) pd = forced;
  } catch (const dnnl::error&) {  // no implementation for the forced layout
  }
  data_dy_ = pd.diff_dst_desc();
  data_dx_ = pd.diff_src_desc();
  data_w_ = pd.weights_desc();
  backward_data_ = BackwardData(pd);
  data_scratchpad_ = pd.scratchpad_desc();
  data_scratch_ = add_scratch(data_scratchpad_.get_size(), Scratch::When::kBackward);
  if (data_dy_ != y_->desc) dy_scratch_ = add_scratch(data_dy_.get_size(), Scratch::When::kBackward);
  if (w_->constant) {
    w_backward_ = l.weights_as(1, weights_source, data_w_);
  } else {  // trainable weights change every step: reordered from the forward layout each time
    backward_reads.push_back(w_);
    if (data_w_ != w_->desc) w_scratch_ = add_scratch(data_w_.get_size(), Scratch::When::kBackward);
  }
  if (w_backward_) reads.push_back(w_backward_);
  dx_sink_.set(&dx_, data_dx_, x_->desc);
  implementation_ += std::string(" | ") + pd.impl_info_str();
}

template <class Traits>
void ConvLikeStep<Traits>::prepare_backward_weights(Lowering& l, const ConvGeometry& geometry,
                                                    const typename Forward::primitive_desc& hint) {
  const dnnl::primitive_attr attr = user_scratchpad_attr();
  const bool with_bias = l.wants(2);
  const MemoryDesc any_w = any_desc(dims_of(w_->desc));
  auto pd = Traits::backward_weights_pd(l.engine(), any_desc(l.input_shape(0)), any_w, with_bias ? &bias_desc_ : nullptr,
                                        any_desc(l.output_shape()), geometry, attr, hint);
  weights_x_ = pd.src_desc();
  weights_dy_ = pd.diff_dst_desc();
  weights_dw_ = pd.diff_weights_desc();
  backward_weights_ = BackwardWeights(pd);
  weights_scratchpad_ = pd.scratchpad_desc();
  weights_scratch_ = add_scratch(weights_scratchpad_.get_size(), Scratch::When::kBackward);
  if (weights_dy_ != y_->desc) dy_weights_scratch_ = add_scratch(weights_dy_.get_size(), Scratch::When::kBackward);
  if (weights_x_ != x_->desc) x_weights_scratch_ = add_scratch(weights_x_.get_size(), Scratch::When::kBackward);
  backward_reads.push_back(x_);
  if (l.wants(1)) {
    dw_.slot = w_;
    dw_sink_.set(&dw_, weights_dw_, w_->desc);
    grads.push_back(&dw_);
  } else {  // the primitive computes it all the same
    unwanted_dw_ = add_scratch(weights_dw_.get_size(), Scratch::When::kBackward);
  }
  if (with_bias) {
    db_.slot = bias_;
    db_sink_.set(&db_, bias_desc_, bias_->desc);
    grads.push_back(&db_);
  }
  implementation_ += std::string(" | ") + pd.impl_info_str();
}

template <class Traits>
void ConvLikeStep<Traits>::plan() {
  if (grads.empty()) return;
  if (dx_) dx_sink_.plan(*this);
  if (dw_) dw_sink_.plan(*this);
  if (db_) db_sink_.plan(*this);
}

template <class Traits>
void ConvLikeStep<Traits>::bind() {
  forward_args_ = {{DNNL_ARG_SRC, memory_of(x_->desc, engine_, x_->data)},
                   {DNNL_ARG_WEIGHTS, memory_of(w_->desc, engine_, w_->data)},
                   {DNNL_ARG_DST, memory_of(y_->desc, engine_, y_->data)},
                   {DNNL_ARG_SCRATCHPAD, memory_of(forward_scratchpad_, engine_, address(forward_scratch_))}};
  if (bias_) forward_args_[DNNL_ARG_BIAS] = memory_of(bias_desc_, engine_, bias_->data);
  if (grads.empty()) return;
  const dnnl::memory dy = memory_of(y_->desc, engine_, y_->grad);
  if (subpixel_) {
    subpixel_->bind(y_->grad);
    dx_sink_.bind(engine_);
  } else if (dx_) {
    dnnl::memory weights = w_backward_ ? memory_of(data_w_, engine_, w_backward_->data)
                                       : memory_of(data_w_, engine_, w_scratch_ ? w_scratch_->data : w_->data);
    dnnl::memory own_dy = dy_scratch_ ? memory_of(data_dy_, engine_, dy_scratch_->data) : dy;
    if (dy_scratch_) dy_reorder_ = make_reorder(engine_, y_->desc, data_dy_, false);
    if (w_scratch_) w_reorder_ = make_reorder(engine_, w_->desc, data_w_, false);
    dx_sink_.bind(engine_);
    data_args_ = {{DNNL_ARG_DIFF_SRC, memory_of(data_dx_, engine_, dx_sink_.address())},
                  {DNNL_ARG_WEIGHTS, weights},
                  {DNNL_ARG_DIFF_DST, own_dy},
                  {DNNL_ARG_SCRATCHPAD, memory_of(data_scratchpad_, engine_, address(data_scratch_))}};
  }
  if (dw_ || db_) {
    if (dy_weights_scratch_) dy_weights_reorder_ = make_reorder(engine_, y_->desc, weights_dy_, false);
    if (x_weights_scratch_) x_weights_reorder_ = make_reorder(engine_, x_->desc, weights_x_, false);
    if (dw_) dw_sink_.bind(engine_);
    void* dw = dw_ ? static_cast<void*>(dw_sink_.address()) : unwanted_dw_->data;
    weights_args_ = {{DNNL_ARG_SRC, memory_of(weights_x_, engine_, x_weights_scratch_ ? x_weights_scratch_->data : x_->data)},
                     {DNNL_ARG_DIFF_WEIGHTS, memory_of(weights_dw_, engine_, dw)},
                     {DNNL_ARG_DIFF_DST, dy_weights_scratch_ ? memory_of(weights_dy_, engine_, dy_weights_scratch_->data) : dy},
                     {DNNL_ARG_SCRATCHPAD, memory_of(weights_scratchpad_, engine_, address(weights_scratch_))}};
    if (db_) {
      db_sink_.bind(engine_);
      weights_args_[DNNL_ARG_DIFF_BIAS] = memory_of(bias_desc_, engine_, db_sink_.address());
    }
  }
}

template <class Traits>
void ConvLikeStep<Traits>::forward() {
  forward_.execute(stream_, forward_args_);
  if (activation_.present && !activation_in_primitive_) activation_forward(y_->f32(), activation_, static_cast<int64_t>(y_->floats()));
}

template <class Traits>
void ConvLikeStep<Traits>::backward() {
  if (activation_.present) activation_backward(y_->grad, y_->f32(), activation_, static_cast<int64_t>(y_->floats()));
  if (dw_ || db_) {
    if (dy_weights_scratch_) {
      dnnl::memory dy = memory_of(y_->desc, engine_, y_->grad);
      dy_weights_reorder_.execute(stream_, dy, weights_args_[DNNL_ARG_DIFF_DST]);
    }
    if (x_weights_scratch_) {
      dnnl::memory x = memory_of(x_->desc, engine_, x_->data);
      x_weights_reorder_.execute(stream_, x, weights_args_[DNNL_ARG_SRC]);
    }
    backward_weights_.execute(stream_, weights_args_);
    if (dw_) dw_sink_.finish(stream_);
    if (db_) db_sink_.finish(stream_);
  }
  if (subpixel_) {
    subpixel_->run(dx_sink_.address());
    dx_sink_.finish(stream_);
  } else if (dx_) {
    if (dy_scratch_) {
      dnnl::memory dy = memory_of(y_->desc, engine_, y_->grad);
      dy_reorder_.execute(stream_, dy, data_args_[DNNL_ARG_DIFF_DST]);
    }
    if (w_scratch_) {
      dnnl::memory w = memory_of(w_->desc, engine_, w_->data);
      w_reorder_.execute(stream_, w, data_args_[DNNL_ARG_WEIGHTS]);
    }
    backward_data_.execute(stream_, data_args_);
    dx_sink_.finish(stream_);
  }
}

template class ConvLikeStep<ConvTraits>;
template class ConvLikeStep<DeconvTraits>;

}  // namespace actmatch::cpu
