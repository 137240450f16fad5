#include "engine/backend/cpu/dnnl_compat.h"

#include <algorithm>

namespace actmatch::cpu {

using dnnl::algorithm;
using dnnl::engine;
using dnnl::primitive_attr;
using dnnl::prop_kind;

std::string dnnl_version_text() {
  const dnnl_version_t* v = dnnl_version();
  return "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

#if DNNL_VERSION_MAJOR >= 3
bool is_blocked(const MemoryDesc& desc) { return desc.get_format_kind() == dnnl::memory::format_kind::blocked; }
Dims dims_of(const MemoryDesc& desc) { return desc.get_dims(); }

Blocking blocking_of(const MemoryDesc& desc) {
  return {desc.get_dims(),       desc.get_padded_dims(), desc.get_strides(),
          desc.get_inner_blks(), desc.get_inner_idxs(),  desc.get_submemory_offset()};
}
#else
bool is_blocked(const MemoryDesc& desc) { return desc.data.format_kind == dnnl_blocked; }
Dims dims_of(const MemoryDesc& desc) { return desc.dims(); }

Blocking blocking_of(const MemoryDesc& desc) {
  const dnnl_memory_desc_t& d = desc.data;
  const dnnl_blocking_desc_t& b = d.format_desc.blocking;
  Blocking out;
  out.dims.assign(d.dims, d.dims + d.ndims);
  out.padded_dims.assign(d.padded_dims, d.padded_dims + d.ndims);
  out.strides.assign(b.strides, b.strides + d.ndims);
  out.inner_blocks.assign(b.inner_blks, b.inner_blks + b.inner_nblks);
  out.inner_axes.assign(b.inner_idxs, b.inner_idxs + b.inner_nblks);
  out.offset = d.offset0;
  return out;
}
#endif

namespace {

Dims dims_or_one(const std::vector<int64_t>& shape) { return shape.empty() ? Dims{1} : Dims(shape.begin(), shape.end()); }

Dims strides_of(const Dims& dims) {
  Dims strides(dims.size());
  int64_t stride = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= std::max<int64_t>(dims[i], 1);
  }
  return strides;
}

}  // namespace

MemoryDesc plain_desc(const std::vector<int64_t>& shape) {
  const Dims dims = dims_or_one(shape);
  return MemoryDesc(dims, dnnl::memory::data_type::f32, strides_of(dims));
}

MemoryDesc any_desc(const std::vector<int64_t>& shape) {
  return MemoryDesc(dims_or_one(shape), dnnl::memory::data_type::f32, dnnl::memory::format_tag::any);
}

MemoryDesc swapped_weights_desc(const std::vector<int64_t>& shape) {
  Dims dims = dims_or_one(shape);
  Dims strides = strides_of(dims);
  const size_t first = dims.size() - 4;
  std::swap(dims[first], dims[first + 1]);
  std::swap(strides[first], strides[first + 1]);
  return MemoryDesc(dims, dnnl::memory::data_type::f32, strides);
}

// `ARGS` are the arguments both versions share; 2.x wraps them in an operation descriptor.
#if DNNL_VERSION_MAJOR >= 3
#define ACTMATCH_PD(TYPE, ENGINE, ATTR, ...) TYPE::primitive_desc(ENGINE, __VA_ARGS__, ATTR)
#define ACTMATCH_PD_HINT(TYPE, ENGINE, ATTR, HINT, ...) TYPE::primitive_desc(ENGINE, __VA_ARGS__, HINT, ATTR)
#else
#define ACTMATCH_PD(TYPE, ENGINE, ATTR, ...) TYPE::primitive_desc(TYPE::desc(__VA_ARGS__), ATTR, ENGINE)
#define ACTMATCH_PD_HINT(TYPE, ENGINE, ATTR, HINT, ...) TYPE::primitive_desc(TYPE::desc(__VA_ARGS__), ATTR, ENGINE, HINT)
#endif

namespace {
prop_kind forward_kind(bool training) { return training ? prop_kind::forward_training : prop_kind::forward_inference; }
}  // namespace

dnnl::convolution_forward::primitive_desc conv_forward_pd(const engine& e, bool training, const MemoryDesc& src, const MemoryDesc& w,
                                                          const MemoryDesc* bias, const MemoryDesc& dst, const ConvGeometry& g,
                                                          const primitive_attr& attr) {
  if (bias)
    return ACTMATCH_PD(dnnl::convolution_forward, e, attr, forward_kind(training), algorithm::convolution_direct, src, w, *bias, dst,
                       g.strides, g.dilations, g.pads_begin, g.pads_end);
  return ACTMATCH_PD(dnnl::convolution_forward, e, attr, forward_kind(training), algorithm::convolution_direct, src, w, dst, g.strides,
                     g.dilations, g.pads_begin, g.pads_end);
}

dnnl::convolution_backward_data::primitive_desc conv_backward_data_pd(const engine& e, const MemoryDesc& diff_src, const MemoryDesc& w,
                                                                      const MemoryDesc& diff_dst, const ConvGeometry& g,
                                                                      const primitive_attr& attr,
                                                                      const dnnl::convolution_forward::primitive_desc& hint) {
  return ACTMATCH_PD_HINT(dnnl::convolution_backward_data, e, attr, hint, algorithm::convolution_direct, diff_src, w, diff_dst, g.strides,
                          g.dilations, g.pads_begin, g.pads_end);
}

dnnl::convolution_backward_weights::primitive_desc conv_backward_weights_pd(const engine& e, const MemoryDesc& src,
                                                                            const MemoryDesc& diff_w, const MemoryDesc* diff_bias,
                                                                            const MemoryDesc& diff_dst, const ConvGeometry& g,
                                                                            const primitive_attr& attr,
                                                                            const dnnl::convolution_forward::primitive_desc& hint) {
  if (diff_bias)
    return ACTMATCH_PD_HINT(dnnl::convolution_backward_weights, e, attr, hint, algorithm::convolution_direct, src, diff_w, *diff_bias,
                            diff_dst, g.strides, g.dilations, g.pads_begin, g.pads_end);
  return ACTMATCH_PD_HINT(dnnl::convolution_backward_weights, e, attr, hint, algorithm::convolution_direct, src, diff_w, diff_dst,
                          g.strides, g.dilations, g.pads_begin, g.pads_end);
}

dnnl::deconvolution_forward::primitive_desc deconv_forward_pd(const engine& e, bool training, const MemoryDesc& src, const MemoryDesc& w,
                                                              const MemoryDesc* bias, const MemoryDesc& dst, const ConvGeometry& g,
                                                              const primitive_attr& attr) {
  if (bias)
    return ACTMATCH_PD(dnnl::deconvolution_forward, e, attr, forward_kind(training), algorithm::deconvolution_direct, src, w, *bias, dst,
                       g.strides, g.dilations, g.pads_begin, g.pads_end);
  return ACTMATCH_PD(dnnl::deconvolution_forward, e, attr, forward_kind(training), algorithm::deconvolution_direct, src, w, dst, g.strides,
                     g.dilations, g.pads_begin, g.pads_end);
}

dnnl::deconvolution_backward_data::primitive_desc deconv_backward_data_pd(const engine& e, const MemoryDesc& diff_src, const MemoryDesc& w,
                                                                          const MemoryDesc& diff_dst, const ConvGeometry& g,
                                                                          const primitive_attr& attr,
                                                                          const dnnl::deconvolution_forward::primitive_desc& hint) {
  return ACTMATCH_PD_HINT(dnnl::deconvolution_backward_data, e, attr, hint, algorithm::deconvolution_direct, diff_src, w, diff_dst,
                          g.strides, g.dilations, g.pads_begin, g.pads_end);
}

dnnl::deconvolution_backward_weights::primitive_desc deconv_backward_weights_pd(const engine& e, const MemoryDesc& src,
                                                                                const MemoryDesc& diff_w, const MemoryDesc* diff_bias,
                                                                                const MemoryDesc& diff_dst, const ConvGeometry& g,
                                                                                const primitive_attr& attr,
                                                                                const dnnl::deconvolution_forward::primitive_desc& hint) {
  if (diff_bias)
    return ACTMATCH_PD_HINT(dnnl::deconvolution_backward_weights, e, attr, hint, algorithm::deconvolution_direct, src, diff_w, *diff_bias,
                            diff_dst, g.strides, g.dilations, g.pads_begin, g.pads_end);
  return ACTMATCH_PD_HINT(dnnl::deconvolution_backward_weights, e, attr, hint, algorithm::deconvolution_direct, src, diff_w, diff_dst,
                          g.strides, g.dilations, g.pads_begin, g.pads_end);
}

PoolForward::primitive_desc pool_forward_pd(const engine& e, bool training, algorithm alg, const MemoryDesc& src, const MemoryDesc& dst,
                                            const ConvGeometry& g, const Dims& kernel, const primitive_attr& attr) {
  return ACTMATCH_PD(PoolForward, e, attr, forward_kind(training), alg, src, dst, g.strides, kernel, g.dilations, g.pads_begin, g.pads_end);
}

PoolBackward::primitive_desc pool_backward_pd(const engine& e, algorithm alg, const MemoryDesc& diff_src, const MemoryDesc& diff_dst,
                                              const ConvGeometry& g, const Dims& kernel, const primitive_attr& attr,
                                              const PoolForward::primitive_desc& hint) {
  return ACTMATCH_PD_HINT(PoolBackward, e, attr, hint, alg, diff_src, diff_dst, g.strides, kernel, g.dilations, g.pads_begin, g.pads_end);
}

dnnl::reorder make_reorder(const engine& e, const MemoryDesc& src, const MemoryDesc& dst, bool accumulate) {
  primitive_attr attr;
  if (accumulate) {
    dnnl::post_ops ops;
    ops.append_sum(1.0f);
    attr.set_post_ops(ops);
  }
  return dnnl::reorder(dnnl::reorder::primitive_desc(e, src, e, dst, attr));
}

void append_activation(dnnl::post_ops& ops, bool relu, float low, float high) {
  const algorithm alg = relu ? algorithm::eltwise_relu : algorithm::eltwise_clip;
  const float alpha = relu ? 0.0f : low, beta = relu ? 0.0f : high;
#if DNNL_VERSION_MAJOR >= 3
  ops.append_eltwise(alg, alpha, beta);
#else
  ops.append_eltwise(1.0f, alg, alpha, beta);
#endif
}

primitive_attr user_scratchpad_attr() {
  primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

}  // namespace actmatch::cpu
