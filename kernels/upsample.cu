// upsample.h. Forward: a thread an output. Backward: a warp a cell, which gathers the outputs that read the cell; nothing is written twice,
// so no atomics. Which outputs those are is asked of the forward pass's own formula, over a range that surely holds them.
#include "kernels/common/reduce.cuh"
#include "kernels/common/taps.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

struct Extent {
  int64_t h, w, H, W;
};

__global__ void resize_bilinear_kernel(float* y, const float* x, Extent e, int64_t count) {
  const int64_t k = flat_index();
  if (k >= count) return;
  const int64_t X = k % e.W, Y = k / e.W % e.H, plane = k / e.W / e.H;
  const Taps row = Bilinear::taps(Y, e.h, e.H), column = Bilinear::taps(X, e.w, e.W);
  const float *upper = x + (plane * e.h + row.low) * e.w, *lower = x + (plane * e.h + row.high) * e.w;
  const float top = upper[column.low] + column.fraction * (upper[column.high] - upper[column.low]);
  const float bottom = lower[column.low] + column.fraction * (lower[column.high] - lower[column.low]);
  y[k] = top + row.fraction * (bottom - top);
}

__global__ void resize_nearest_kernel(float* y, const float* x, Extent e, int64_t count) {
  const int64_t k = flat_index();
  if (k >= count) return;
  const int64_t X = k % e.W, Y = k / e.W % e.H, plane = k / e.W / e.H;
  y[k] = x[(plane * e.h + Nearest::taps(Y, e.h, e.H).low) * e.w + Nearest::taps(X, e.w, e.W).low];
}

template <class Rule>
__global__ void resize_backward_kernel(float* dx, const float* dy, Extent e, int64_t count, bool accumulate) {
  const int64_t k = flat_index() / 32;
  if (k >= count) return;  // a whole warp
  const int64_t c = k % e.w, r = k / e.w % e.h, plane = k / e.w / e.h;
  const Range rows = outputs_of(r, e.h, e.H), columns = outputs_of(c, e.w, e.W);
  const int64_t width = columns.end - columns.begin;
  float sum = 0;
  for (int64_t at = thread_index() % 32; at < (rows.end - rows.begin) * width; at += 32) {
    const int64_t Y = rows.begin + at / width, X = columns.begin + at % width;
    const float share = Rule::taps(Y, e.h, e.H).share(r) * Rule::taps(X, e.w, e.W).share(c);
    if (share != 0) sum += share * dy[(plane * e.H + Y) * e.W + X];
  }
  sum = warp_sum(sum);
  if (thread_index() % 32 == 0) dx[k] = accumulate ? dx[k] + sum : sum;
}

}  // namespace

cudaError_t resize_bilinear(cudaStream_t stream, float* y, const float* x, int64_t planes, int64_t h, int64_t w, int64_t H, int64_t W) {
  const int64_t count = planes * H * W;
  return launch(stream, resize_bilinear_kernel, grid_of(ceil_div(count, kThreads)), kThreads, y, x, Extent{h, w, H, W}, count);
}

cudaError_t resize_nearest(cudaStream_t stream, float* y, const float* x, int64_t planes, int64_t h, int64_t w, int64_t H, int64_t W) {
  const int64_t count = planes * H * W;
  return launch(stream, resize_nearest_kernel, grid_of(ceil_div(count, kThreads)), kThreads, y, x, Extent{h, w, H, W}, count);
}

cudaError_t resize_bilinear_backward(cudaStream_t stream, float* dx, const float* dy, int64_t planes, int64_t h, int64_t w, int64_t H,
                                     int64_t W, bool accumulate) {
  const int64_t count = planes * h * w;
  return launch(stream, resize_backward_kernel<Bilinear>, grid_of(ceil_div(count * 32, kThreads)), kThreads, dx, dy, Extent{h, w, H, W},
                count, accumulate);
}

cudaError_t resize_nearest_backward(cudaStream_t stream, float* dx, const float* dy, int64_t planes, int64_t h, int64_t w, int64_t H,
                                    int64_t W, bool accumulate) {
  const int64_t count = planes * h * w;
  return launch(stream, resize_backward_kernel<Nearest>, grid_of(ceil_div(count * 32, kThreads)), kThreads, dx, dy, Extent{h, w, H, W},
                count, accumulate);
}

}  // namespace actmatch::kernels::cuda
