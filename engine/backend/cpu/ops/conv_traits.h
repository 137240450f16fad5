#pragma once

#include "engine/backend/cpu/dnnl_compat.h"

namespace actmatch::cpu {

struct ConvTraits {
  using Forward = dnnl::convolution_forward;
  using BackwardData = dnnl::convolution_backward_data;
  using BackwardWeights = dnnl::convolution_backward_weights;
  static constexpr auto forward_pd = conv_forward_pd;
  static constexpr auto backward_data_pd = conv_backward_data_pd;
  static constexpr auto backward_weights_pd = conv_backward_weights_pd;
};

struct DeconvTraits {
  using Forward = dnnl::deconvolution_forward;
  using BackwardData = dnnl::deconvolution_backward_data;
  using BackwardWeights = dnnl::deconvolution_backward_weights;
  static constexpr auto forward_pd = deconv_forward_pd;
  static constexpr auto backward_data_pd = deconv_backward_data_pd;
  static constexpr auto backward_weights_pd = deconv_backward_weights_pd;
};

}  // namespace actmatch::cpu
