// Softmax along an axis and its logarithm. Where the axis is contiguous, a warp has a line, or a block a long one; where it is not, a
// thread has a line, next to the lines of its neighbours. A line is read up to three times, from the cache after the first.
#include "kernels/common/reduce.cuh"
#include "kernels/common/value.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

constexpr int64_t kLongLine = 1024;

// One line: `extent` elements `stride` apart, of which this thread has every `lanes`-th from `lane` on.
struct Line {
  int64_t begin, stride;
  int32_t extent, lane, lanes;
  template <class Run>
  __device__ __forceinline__ void each(Run run) const {
    for (int32_t j = lane; j < extent; j += lanes) run(begin + j * stride);
  }
};

// How the threads of a line put their results together; every one of them gets the result.
struct Alone {
  static constexpr int kLanes = 1;
  static __device__ __forceinline__ float sum(float v) { return v; }
  static __device__ __forceinline__ float max(float v) { return v; }
};
struct InWarp {
  static constexpr int kLanes = 32;
  static __device__ __forceinline__ float sum(float v) { return warp_sum(v); }
  static __device__ __forceinline__ float max(float v) {
    for (int bit = 16; bit > 0; bit /= 2) v = max_or_nan(v, __shfl_xor_sync(kAllLanes, v, bit));
    return v;
  }
};
struct InBlock {
  static constexpr int kLanes = kThreads;
  static __device__ __forceinline__ float sum(float v) { return block_sum(v); }
  static __device__ __forceinline__ float max(float v) {
    return block_combine(v, -INFINITY, [](float u) { return InWarp::max(u); });
  }
};

struct Lines {
  int64_t count, inner;
  int32_t extent;
};

template <class Team>
__device__ __forceinline__ Line line_of(const Lines& lines, int64_t number) {
  const int64_t outer = number / lines.inner;
  return {outer * lines.extent * lines.inner + number % lines.inner, lines.inner, lines.extent, thread_index() % Team::kLanes,
          Team::kLanes};
}

template <class T, class Team>
__global__ void __launch_bounds__(kThreads) softmax_kernel(T* y, const T* x, bool log, Lines lines) {
  const int64_t number = flat_index() / Team::kLanes;
  if (number >= lines.count) return;  // a whole team
  const Line line = line_of<Team>(lines, number);
  float top = -INFINITY;
  line.each([&](int64_t i) { top = max_or_nan(top, to_float(x[i])); });
  top = Team::max(top);
  float sum = 0;
  line.each([&](int64_t i) { sum += expf(to_float(x[i]) - top); });
  sum = Team::sum(sum);
  if (log) {
    const float log_sum = logf(sum);
    line.each([&](int64_t i) { y[i] = from_float<T>(to_float(x[i]) - top - log_sum); });
  } else {
    const float inverse = 1.0f / sum;
    line.each([&](int64_t i) { y[i] = from_float<T>(expf(to_float(x[i]) - top) * inverse); });
  }
}

template <class T, class Team>
__global__ void __launch_bounds__(kThreads)
    softmax_backward_kernel(T* dx, const T* dy, const T* y, bool log, Lines lines, bool accumulate) {
  const int64_t number = flat_index() / Team::kLanes;
  if (number >= lines.count) return;  // a whole team
  const Line line = line_of<Team>(lines, number);
  float sum = 0;
  line.each([&](int64_t i) { sum += log ? to_float(dy[i]) : to_float(dy[i]) * to_float(y[i]); });
  sum = Team::sum(sum);
  line.each([&](int64_t i) {
    const float p = to_float(y[i]), d = to_float(dy[i]);
    const float v = log ? d - expf(p) * sum : p * (d - sum);
    dx[i] = from_float<T>(accumulate ? to_float(dx[i]) + v : v);
  });
}

bool in_range(int64_t extent) { return extent >= 0 && extent < (int64_t{1} << 30); }

}  // namespace

template <class T>
cudaError_t softmax(cudaStream_t stream, T* y, const T* x, bool log, int64_t outer, int64_t extent, int64_t inner) {
  if (!in_range(extent)) return cudaErrorInvalidValue;
  if (outer == 0 || extent == 0 || inner == 0) return cudaSuccess;
  const Lines lines{outer * inner, inner, static_cast<int32_t>(extent)};
  const auto run = [&](auto kernel, int64_t lanes) {
    return launch(stream, kernel, grid_of(ceil_div(lines.count * lanes, kThreads)), kThreads, y, x, log, lines);
  };
  if (inner > 1) return run(softmax_kernel<T, Alone>, 1);
  return extent > kLongLine ? run(softmax_kernel<T, InBlock>, kThreads) : run(softmax_kernel<T, InWarp>, 32);
}

template <class T>
cudaError_t softmax_backward(cudaStream_t stream, T* dx, const T* dy, const T* y, bool log, int64_t outer, int64_t extent, int64_t inner,
                             bool accumulate) {
  if (!in_range(extent)) return cudaErrorInvalidValue;
  if (outer == 0 || extent == 0 || inner == 0) return cudaSuccess;
  const Lines lines{outer * inner, inner, static_cast<int32_t>(extent)};
  const auto run = [&](auto kernel, int64_t lanes) {
    return launch(stream, kernel, grid_of(ceil_div(lines.count * lanes, kThreads)), kThreads, dx, dy, y, log, lines, accumulate);
  };
  if (inner > 1) return run(softmax_backward_kernel<T, Alone>, 1);
  return extent > kLongLine ? run(softmax_backward_kernel<T, InBlock>, kThreads) : run(softmax_backward_kernel<T, InWarp>, 32);
}

#define ACTMATCH_INSTANTIATE(T)                                                                 \
  template cudaError_t softmax<T>(cudaStream_t, T*, const T*, bool, int64_t, int64_t, int64_t); \
  template cudaError_t softmax_backward<T>(cudaStream_t, T*, const T*, const T*, bool, int64_t, int64_t, int64_t, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(bfloat16)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels::cuda
