// CUDA launchers of the convolutions (conv.h says shapes and formulas): implicit GEMM for any stride, pad, dilation and number of groups.
// T is float or bfloat16 for activations and weights; sums are in float, biases and the gradients of weights and biases are float for
// either T. What cuda.h says about device memory, capturing, scratch and the order of sums holds here too; the order does not depend on
// `instances`, so that a part of the batch gets the same bits as it would alone.
//
// cudaErrorInvalidValue: a shape that contradicts itself, or an image of 2^31 values or more.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kernels/bfloat16.h"
#include "kernels/conv.h"

namespace actmatch::kernels::cuda {

// y = clip(conv(x, w) + bias + addend); bias [instances, K] and addend (like y) may be null. addend may be y itself: y is added to.
template <class T>
cudaError_t conv_forward(cudaStream_t stream, T* y, const T* x, const T* w, const float* bias, const T* addend, const ConvShape& shape,
                         const Clip& clip);

// dx = clip(gradient from dy + bias + addend); addend (like dx) may be null, or dx itself: the gradient is added to dx. bias
// [instances, C] and clip are for the forward pass of a transposed convolution; for a gradient they are null and kNoClip.
template <class T>
cudaError_t conv_backward_data(cudaStream_t stream, T* dx, const T* dy, const T* w, const float* bias, const T* addend,
                               const ConvShape& shape, const Clip& clip);

// dw [instances, K, R, S, C/groups] = (or +=) the gradient from x and dy.
size_t conv_backward_filter_scratch_bytes(const ConvShape& shape);
template <class T>
cudaError_t conv_backward_filter(cudaStream_t stream, float* dw, const T* x, const T* dy, const ConvShape& shape, bool accumulate,
                                 void* scratch);

// db [instances, channels] = (or +=) the sums of dy [N, positions, channels] over the images of each part and the positions. Also for the
// bias of a transposed convolution.
size_t conv_backward_bias_scratch_bytes(int64_t N, int64_t positions, int64_t channels, int64_t instances);
template <class T>
cudaError_t conv_backward_bias(cudaStream_t stream, float* db, const T* dy, int64_t N, int64_t positions, int64_t channels,
                               int64_t instances, bool accumulate, void* scratch);

}  // namespace actmatch::kernels::cuda
