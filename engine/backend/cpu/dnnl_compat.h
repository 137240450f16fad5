// The one place that knows the differences between oneDNN 2.x (operation descriptors) and 3.x (descriptors from arguments).
// Everything else in the CPU backend is written against these functions.
#pragma once

#include <array>
#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

namespace actmatch::cpu {

using MemoryDesc = dnnl::memory::desc;
using Dims = dnnl::memory::dims;

std::string dnnl_version_text();

// How a blocked descriptor lays its axes out: a stride for each axis, then the inner blocks.
struct Blocking {
  std::vector<int64_t> dims, padded_dims, strides;
  std::vector<int64_t> inner_blocks, inner_axes;
  int64_t offset = 0;
};
Blocking blocking_of(const MemoryDesc& desc);
Dims dims_of(const MemoryDesc& desc);     // of any descriptor, opaque formats included
bool is_blocked(const MemoryDesc& desc);  // false for oneDNN's opaque formats (Winograd, packed)

MemoryDesc plain_desc(const std::vector<int64_t>& shape);            // row-major fp32; a scalar becomes one element
MemoryDesc any_desc(const std::vector<int64_t>& shape);              // "whatever the primitive likes best"
MemoryDesc swapped_weights_desc(const std::vector<int64_t>& shape);  // dims (b,a,c,d) over row-major memory of shape (a,b,c,d)
                                                                     // given as `shape` (a,b,c,d); with groups (g,a,b,c,d) likewise

struct ConvGeometry {
  Dims strides, dilations /* oneDNN's: 0 = dense */, pads_begin, pads_end;
};

// Conv: dst = conv(src, w) + bias. `bias` may be a zero descriptor. Throws dnnl::error when no implementation exists.
dnnl::convolution_forward::primitive_desc conv_forward_pd(const dnnl::engine&, bool training, const MemoryDesc& src, const MemoryDesc& w,
                                                          const MemoryDesc* bias, const MemoryDesc& dst, const ConvGeometry&,
                                                          const dnnl::primitive_attr&);
dnnl::convolution_backward_data::primitive_desc conv_backward_data_pd(const dnnl::engine&, const MemoryDesc& diff_src, const MemoryDesc& w,
                                                                      const MemoryDesc& diff_dst, const ConvGeometry&,
                                                                      const dnnl::primitive_attr&,
                                                                      const dnnl::convolution_forward::primitive_desc& hint);
dnnl::convolution_backward_weights::primitive_desc conv_backward_weights_pd(const dnnl::engine&, const MemoryDesc& src,
                                                                            const MemoryDesc& diff_w, const MemoryDesc* diff_bias,
                                                                            const MemoryDesc& diff_dst, const ConvGeometry&,
                                                                            const dnnl::primitive_attr&,
                                                                            const dnnl::convolution_forward::primitive_desc& hint);
dnnl::deconvolution_forward::primitive_desc deconv_forward_pd(const dnnl::engine&, bool training, const MemoryDesc& src,
                                                              const MemoryDesc& w, const MemoryDesc* bias, const MemoryDesc& dst,
                                                              const ConvGeometry&, const dnnl::primitive_attr&);
dnnl::deconvolution_backward_data::primitive_desc deconv_backward_data_pd(const dnnl::engine&, const MemoryDesc& diff_src,
                                                                          const MemoryDesc& w, const MemoryDesc& diff_dst,
                                                                          const ConvGeometry&, const dnnl::primitive_attr&,
                                                                          const dnnl::deconvolution_forward::primitive_desc& hint);
dnnl::deconvolution_backward_weights::primitive_desc deconv_backward_weights_pd(const dnnl::engine&, const MemoryDesc& src,
                                                                                const MemoryDesc& diff_w, const MemoryDesc* diff_bias,
                                                                                const MemoryDesc& diff_dst, const ConvGeometry&,
                                                                                const dnnl::primitive_attr&,
                                                                                const dnnl::deconvolution_forward::primitive_desc& hint);

// Pooling. With dilation both versions use their own dilated primitive; `Forward` and `Backward` are the primitive types.
#if DNNL_VERSION_MAJOR >= 3
using PoolForward = dnnl::pooling_forward;
using PoolBackward = dnnl::pooling_backward;
#else
using PoolForward = dnnl::pooling_v2_forward;
using PoolBackward = dnnl::pooling_v2_backward;
#endif
PoolForward::primitive_desc pool_forward_pd(const dnnl::engine&, bool training, dnnl::algorithm, const MemoryDesc& src,
                                            const MemoryDesc& dst, const ConvGeometry&, const Dims& kernel, const dnnl::primitive_attr&);
PoolBackward::primitive_desc pool_backward_pd(const dnnl::engine&, dnnl::algorithm, const MemoryDesc& diff_src, const MemoryDesc& diff_dst,
                                              const ConvGeometry&, const Dims& kernel, const dnnl::primitive_attr&,
                                              const PoolForward::primitive_desc& hint);

// dst = src, or dst += src with `accumulate`.
dnnl::reorder make_reorder(const dnnl::engine&, const MemoryDesc& src, const MemoryDesc& dst, bool accumulate);

// Post-op clip(x, low, high); relu is low 0, high infinity.
void append_activation(dnnl::post_ops& ops, bool relu, float low, float high);
dnnl::primitive_attr user_scratchpad_attr();  // scratch comes from our arena, so nothing is allocated while running

}  // namespace actmatch::cpu
