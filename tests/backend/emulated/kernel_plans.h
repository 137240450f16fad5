// What a library's plan does, done by kernels of our own in fp32: for libraries of the tests.
#pragma once

#include "engine/backend/cuda/check.h"
#include "engine/backend/cuda/libraries.h"
#include "kernels/cuda.h"
#include "kernels/cuda_conv.h"
#include "kernels/cuda_ops.h"

namespace actmatch::test {

inline kernels::ConvShape shape_of(const cuda::PlanKey& key) {
  kernels::ConvShape s;
  const auto& k = key.shape;
  s.N = k.N, s.H = k.H, s.W = k.W, s.C = k.C, s.K = k.K, s.R = k.R, s.S = k.S;
  s.P = k.out_height(), s.Q = k.out_width();
  s.stride_h = k.strides[0], s.stride_w = k.strides[1], s.pad_top = k.pads[0], s.pad_left = k.pads[1];
  s.dilation_h = k.dilations[0], s.dilation_w = k.dilations[1], s.groups = k.groups;
  return s;
}
inline kernels::Clip clip_of(const cuda::PlanKey& key) {
  if (key.activation == cuda::ConvActivation::kNone) return {};
  return key.activation == cuda::ConvActivation::kRelu ? kernels::kReluClip : kernels::Clip{0.0f, key.ceiling};
}

inline size_t filter_scratch_bytes(const cuda::PlanKey& key) { return kernels::cuda::conv_backward_filter_scratch_bytes(shape_of(key)); }

// `filter_scratch`: for the gradient of the weights.
inline void run_with_kernels(cudaStream_t stream, const cuda::PlanKey& key, const cuda::ConvTensors& t, void* filter_scratch) {
  const kernels::ConvShape s = shape_of(key);
  auto *x = static_cast<float*>(t.x), *w = static_cast<float*>(t.w), *y = static_cast<float*>(t.y);
  const auto* addend = static_cast<const float*>(t.addend);
  switch (key.pass) {
    case cuda::ConvPass::kForward:
      ACTMATCH_CUDA(kernels::cuda::conv_forward(stream, y, x, w, static_cast<const float*>(t.bias), addend, s, clip_of(key)));
      break;
    case cuda::ConvPass::kBackwardData:
      ACTMATCH_CUDA(kernels::cuda::conv_backward_data(stream, x, y, w, static_cast<const float*>(nullptr), addend, s, kernels::kNoClip));
      if (key.activation != cuda::ConvActivation::kNone)
        ACTMATCH_CUDA(kernels::cuda::clip_backward(stream, x, x, static_cast<const float*>(t.saved), clip_of(key), s.N * s.H * s.W * s.C));
      break;
    case cuda::ConvPass::kBackwardFilter:
      ACTMATCH_CUDA(kernels::cuda::conv_backward_filter(stream, w, static_cast<const float*>(x), static_cast<const float*>(y), s, false,
                                                        filter_scratch));
      break;
  }
}

inline void multiply_with_kernels(cudaStream_t stream, const cuda::MatMulKey& key, void* c, const void* a, const void* b) {
  const kernels::cuda::GemmShape s{key.M,           key.N,        key.K,        key.batch,   key.transpose_a,
                                   key.transpose_b, key.a_stride, key.b_stride, key.c_stride};
  ACTMATCH_CUDA(kernels::cuda::gemm(stream, static_cast<float*>(c), static_cast<const float*>(a), static_cast<const float*>(b),
                                    static_cast<const float*>(nullptr), s, key.accumulate, kernels::kNoClip));
}

}  // namespace actmatch::test
