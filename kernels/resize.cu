// Resizing of NHWC, and of row-major planes as images of one channel. Forward: a thread an output of one channel, channels innermost.
// Backward: gathered from the outputs that may read the cell. With many channels a thread has a cell of one channel, so that a warp reads
// neighbouring channels; with few, a warp has it and its lanes share the outputs. Which of the two depends on the channels alone.
#include "kernels/common/reduce.cuh"
#include "kernels/common/taps.cuh"
#include "kernels/common/value.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

constexpr int64_t kManyChannels = 16;

struct Sizes {
  int64_t h, w, H, W, C;
};

template <class T>
__global__ void __launch_bounds__(kThreads) linear_kernel(T* y, const T* x, Sizes s, int64_t count) {
  const int64_t k = flat_index();
  if (k >= count) return;
  const int64_t c = k % s.C, X = k / s.C % s.W, Y = k / s.C / s.W % s.H, n = k / s.C / s.W / s.H;
  const Taps row = Bilinear::taps(Y, s.h, s.H), column = Bilinear::taps(X, s.w, s.W);
  const T *upper = x + (n * s.h + row.low) * s.w * s.C + c, *lower = x + (n * s.h + row.high) * s.w * s.C + c;
  const auto along = [&](const T* line) {
    const float left = to_float(line[column.low * s.C]);
    return left + column.fraction * (to_float(line[column.high * s.C]) - left);
  };
  const float top = along(upper);
  y[k] = from_float<T>(top + row.fraction * (along(lower) - top));
}

template <class T>
__global__ void __launch_bounds__(kThreads) nearest_kernel(T* y, const T* x, Sizes s, int64_t count) {
  const int64_t k = flat_index();
  if (k >= count) return;
  const int64_t c = k % s.C, X = k / s.C % s.W, Y = k / s.C / s.W % s.H, n = k / s.C / s.W / s.H;
  y[k] = x[((n * s.h + Nearest::taps(Y, s.h, s.H).low) * s.w + Nearest::taps(X, s.w, s.W).low) * s.C + c];
}

template <class T, class Rule, int kLanes>
__global__ void __launch_bounds__(kThreads) backward_kernel(T* dx, const T* dy, Sizes s, int64_t count, bool accumulate) {
  const int64_t k = flat_index() / kLanes;
  if (k >= count) return;  // a whole warp, where its lanes work together
  const int64_t c = k % s.C, column = k / s.C % s.w, row = k / s.C / s.w % s.h, n = k / s.C / s.w / s.h;
  const Range rows = outputs_of(row, s.h, s.H), columns = outputs_of(column, s.w, s.W);
  const T* from = dy + n * s.H * s.W * s.C + c;
  float sum = 0;
  for (int64_t Y = rows.begin; Y < rows.end; ++Y) {
    const float row_share = Rule::taps(Y, s.h, s.H).share(row);
    if (row_share == 0) continue;
    for (int64_t X = columns.begin + (kLanes > 1 ? thread_index() % kLanes : 0); X < columns.end; X += kLanes) {
      const float share = row_share * Rule::taps(X, s.w, s.W).share(column);
      if (share != 0) sum += share * to_float(from[(Y * s.W + X) * s.C]);
    }
  }
  if constexpr (kLanes > 1) {
    sum = warp_sum(sum);
    if (thread_index() % kLanes != 0) return;
  }
  dx[k] = from_float<T>(accumulate ? to_float(dx[k]) + sum : sum);
}

}  // namespace

template <class T>
cudaError_t resize(cudaStream_t stream, T* y, const T* x, ResizeOp op, int64_t N, int64_t h, int64_t w, int64_t H, int64_t W, int64_t C) {
  const int64_t count = N * H * W * C;
  return launch(stream, op == ResizeOp::kLinear ? linear_kernel<T> : nearest_kernel<T>, grid_of(ceil_div(count, kThreads)), kThreads, y, x,
                Sizes{h, w, H, W, C}, count);
}

template <class T>
cudaError_t resize_backward(cudaStream_t stream, T* dx, const T* dy, ResizeOp op, int64_t N, int64_t h, int64_t w, int64_t H, int64_t W,
                            int64_t C, bool accumulate) {
  const int64_t count = N * h * w * C;
  const bool linear = op == ResizeOp::kLinear, alone = C >= kManyChannels;
  const auto kernel = alone ? (linear ? backward_kernel<T, Bilinear, 1> : backward_kernel<T, Nearest, 1>)
                            : (linear ? backward_kernel<T, Bilinear, 32> : backward_kernel<T, Nearest, 32>);
  return launch(stream, kernel, grid_of(ceil_div(count * (alone ? 1 : 32), kThreads)), kThreads, dx, dy, Sizes{h, w, H, W, C}, count,
                accumulate);
}

#define ACTMATCH_INSTANTIATE(T)                                                                                               \
  template cudaError_t resize<T>(cudaStream_t, T*, const T*, ResizeOp, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t); \
  template cudaError_t resize_backward<T>(cudaStream_t, T*, const T*, ResizeOp, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(bfloat16)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels::cuda
