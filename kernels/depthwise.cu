// One thread a value of the result, channels fastest: neighbouring threads read neighbouring numbers; the nine reads of neighbouring pixels
// meet in the cache. The gradient is gathered, so nothing is written twice.
#include "kernels/common/launch.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kThreads)
    depthwise_kernel(float* y, const float* x, const float* filter, const float* bias, DepthwiseShape s, Activation activation) {
  const int64_t k = flat_index();
  if (k >= s.N * s.outH * s.outW * s.C) return;
  const int64_t c = k % s.C, j = k / s.C % s.outW, i = k / s.C / s.outW % s.outH, n = k / s.C / s.outW / s.outH;
  float sum = bias != nullptr ? bias[c] : 0.0f;
  for (int r = 0; r < 3; ++r) {
    for (int q = 0; q < 3; ++q) {
      const int64_t h = i * s.stride + r - s.pad_top, w = j * s.stride + q - s.pad_left;
      if (h >= 0 && h < s.H && w >= 0 && w < s.W) sum += filter[(r * 3 + q) * s.C + c] * x[((n * s.H + h) * s.W + w) * s.C + c];
    }
  }
  // Comparisons, not fmaxf: a NaN is passed on.
  if (activation != Activation::kNone && sum < 0.0f) sum = 0.0f;
  if (activation == Activation::kRelu6 && sum > 6.0f) sum = 6.0f;
  y[k] = sum;
}

__global__ void __launch_bounds__(kThreads) depthwise_backward_kernel(float* dx, const float* dy, const float* y, const float* filter,
                                                                      DepthwiseShape s, Activation activation, bool accumulate) {
  const int64_t k = flat_index();
  if (k >= s.N * s.H * s.W * s.C) return;
  const int64_t c = k % s.C, w = k / s.C % s.W, h = k / s.C / s.W % s.H, n = k / s.C / s.W / s.H;
  float sum = accumulate ? dx[k] : 0.0f;
  for (int r = 0; r < 3; ++r) {
    for (int q = 0; q < 3; ++q) {
      // The output (i, j) that reads this pixel by tap (r, q), if the stride meets it.
      const int64_t up = h + s.pad_top - r, left = w + s.pad_left - q;
      if (up < 0 || left < 0 || up % s.stride != 0 || left % s.stride != 0) continue;
      const int64_t i = up / s.stride, j = left / s.stride;
      if (i >= s.outH || j >= s.outW) continue;
      const int64_t at = ((n * s.outH + i) * s.outW + j) * s.C + c;
      if (activation != Activation::kNone) {
        const float result = y[at];
        if (!(result > 0.0f) || (activation == Activation::kRelu6 && !(result < 6.0f))) continue;
      }
      sum += filter[(r * 3 + q) * s.C + c] * dy[at];
    }
  }
  dx[k] = sum;
}

}  // namespace

cudaError_t depthwise(cudaStream_t stream, float* y, const float* x, const float* filter, const float* bias, const DepthwiseShape& shape,
                      Activation activation) {
  return launch(stream, depthwise_kernel, grid_of(ceil_div(shape.N * shape.outH * shape.outW * shape.C, kThreads)), kThreads, y, x, filter,
                bias, shape, activation);
}

cudaError_t depthwise_backward(cudaStream_t stream, float* dx, const float* dy, const float* y, const float* filter,
                               const DepthwiseShape& shape, Activation activation, bool accumulate) {
  return launch(stream, depthwise_backward_kernel, grid_of(ceil_div(shape.N * shape.H * shape.W * shape.C, kThreads)), kThreads, dx, dy, y,
                filter, shape, activation, accumulate);
}

}  // namespace actmatch::kernels::cuda
