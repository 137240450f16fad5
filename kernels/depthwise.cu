// A thread takes four neighbouring columns of the result and as many channels as 16 bytes hold; neighbouring threads the next channels.
// So a filter tap is fetched once for four results and a pixel once for up to three taps of them, which leaves about seven loads a result
// instead of eighteen; the three rows meet in the cache. Where C or an address does not allow 16 bytes, a thread has one channel. The
// gradient is gathered, so nothing is written twice.
#include <algorithm>

#include "kernels/common/launch.cuh"
#include "kernels/common/vector.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

constexpr int kColumns = 4;

// The shape in 32 bits: offsets within an image, and images of one launch times their threads, are less than 2^31.
struct Sizes {
  int H, W, C, outH, outW, pad_top, pad_left;
};

// What a thread does: `vector` counts the channels, `group` the columns, `row` the rows of its result.
struct Task {
  int channel, group, row;
  int64_t image;
};
template <int kCount>
__device__ __forceinline__ Task task_of(uint32_t index, int C, int groups, int rows) {
  const auto vectors = static_cast<uint32_t>(C / kCount);
  Task task;
  task.channel = static_cast<int>(index % vectors) * kCount;
  index /= vectors;
  task.group = static_cast<int>(index % static_cast<uint32_t>(groups));
  index /= static_cast<uint32_t>(groups);
  task.row = static_cast<int>(index % static_cast<uint32_t>(rows));
  task.image = index / static_cast<uint32_t>(rows);
  return task;
}

template <class T, int kCount, int kStride>
__global__ void __launch_bounds__(kThreads)
    depthwise_kernel(T* y, const T* x, const T* filter, const float* bias, Sizes s, int groups, int64_t threads, Clip clip) {
  if (flat_index() >= threads) return;
  const auto [c, group, i, n] = task_of<kCount>(static_cast<uint32_t>(flat_index()), s.C, groups, s.outH);
  const int first = group * kColumns;
  float sum[kColumns][kCount];
  for (int e = 0; e < kCount; ++e) {
    const float start = bias != nullptr ? bias[c + e] : 0.0f;
    ACTMATCH_UNROLL
    for (int j = 0; j < kColumns; ++j) sum[j][e] = start;
  }
  const T* image = x + n * s.H * s.W * s.C + c;
  ACTMATCH_UNROLL
  for (int r = 0; r < 3; ++r) {
    const int h = i * kStride + r - s.pad_top;
    if (h < 0 || h >= s.H) continue;
    Vector<T, kCount> tap[3];
    ACTMATCH_UNROLL
    for (int q = 0; q < 3; ++q) tap[q] = load_vector<T, kCount>(filter + (r * 3 + q) * s.C + c);
    ACTMATCH_UNROLL
    for (int u = 0; u < (kColumns - 1) * kStride + 3; ++u) {
      const int w = first * kStride + u - s.pad_left;
      if (w < 0 || w >= s.W) continue;
      const Vector<T, kCount> pixel = load_vector<T, kCount>(image + (h * s.W + w) * s.C);
      ACTMATCH_UNROLL
      for (int q = 0; q < 3; ++q) {
        if (u < q || (u - q) % kStride != 0 || (u - q) / kStride >= kColumns) continue;
        ACTMATCH_UNROLL
        for (int e = 0; e < kCount; ++e) sum[(u - q) / kStride][e] += to_float(tap[q].v[e]) * to_float(pixel.v[e]);
      }
    }
  }
  T* out = y + ((n * s.outH + i) * s.outW + first) * s.C + c;
  ACTMATCH_UNROLL
  for (int j = 0; j < kColumns; ++j) {
    if (first + j >= s.outW) break;
    Vector<T, kCount> result;
    ACTMATCH_UNROLL
    for (int e = 0; e < kCount; ++e) result.v[e] = from_float<T>(clip(sum[j][e]));
    store_vector(out + j * s.C, result);
  }
}

// The columns of a thread begin where those of dy's pixels do: at first + pad_left a multiple of the stride. So column j of dy meets
// column j * stride + q - pad_left, and which of the thread's four that is does not depend on the thread.
template <class T, int kCount, int kStride>
__global__ void __launch_bounds__(kThreads) depthwise_backward_kernel(T* dx, const T* dy, const T* y, const T* filter, Sizes s, int groups,
                                                                      int64_t threads, Clip clip, bool accumulate) {
  if (flat_index() >= threads) return;
  const auto [c, group, h, n] = task_of<kCount>(static_cast<uint32_t>(flat_index()), s.C, groups, s.H);
  const int first = group * kColumns - s.pad_left % kStride;
  T* out = dx + (n * s.H + h) * s.W * s.C + c;
  float sum[kColumns][kCount] = {};
  const int64_t image = n * s.outH * s.outW * s.C + c;
  ACTMATCH_UNROLL
  for (int r = 0; r < 3; ++r) {
    // The row of dy that reads this row by tap r, if the stride meets it.
    const int up = h + s.pad_top - r;
    if (up < 0 || up % kStride != 0 || up / kStride >= s.outH) continue;
    Vector<T, kCount> tap[3];
    ACTMATCH_UNROLL
    for (int q = 0; q < 3; ++q) tap[q] = load_vector<T, kCount>(filter + (r * 3 + q) * s.C + c);
    ACTMATCH_UNROLL
    for (int u = 0; u <= (kColumns + 1) / kStride; ++u) {
      const int j = (first + s.pad_left) / kStride + u - 2 / kStride;
      if (j < 0 || j >= s.outW) continue;
      const int64_t at = image + (up / kStride * s.outW + j) * s.C;
      const Vector<T, kCount> pixel = load_vector<T, kCount>(dy + at);
      float gradient[kCount];
      ACTMATCH_UNROLL
      for (int e = 0; e < kCount; ++e) gradient[e] = to_float(pixel.v[e]);
      if (y != nullptr) {
        const Vector<T, kCount> result = load_vector<T, kCount>(y + at);
        ACTMATCH_UNROLL
        for (int e = 0; e < kCount; ++e) {
          if (!clip.passes(to_float(result.v[e]))) gradient[e] = 0.0f;
        }
      }
      ACTMATCH_UNROLL
      for (int q = 0; q < 3; ++q) {
        const int column = u * kStride + q - 2;
        if (column < 0 || column >= kColumns) continue;
        ACTMATCH_UNROLL
        for (int e = 0; e < kCount; ++e) sum[column][e] += to_float(tap[q].v[e]) * gradient[e];
      }
    }
  }
  ACTMATCH_UNROLL
  for (int j = 0; j < kColumns; ++j) {
    if (first + j < 0 || first + j >= s.W) continue;
    Vector<T, kCount> result;
    if (accumulate) result = load_vector<T, kCount>(out + (first + j) * s.C);
    ACTMATCH_UNROLL
    for (int e = 0; e < kCount; ++e) result.v[e] = from_float<T>(accumulate ? sum[j][e] + to_float(result.v[e]) : sum[j][e]);
    store_vector(out + (first + j) * s.C, result);
  }
}

bool valid(const DepthwiseShape& s) {
  return (s.stride == 1 || s.stride == 2) && s.pad_top >= 0 && s.pad_top <= 2 && s.pad_left >= 0 && s.pad_left <= 2 &&
         s.H * s.W * s.C < int64_t{1} << 31 && s.outH * s.outW * s.C < int64_t{1} << 31;
}
Sizes sizes_of(const DepthwiseShape& s) {
  const auto i = [](int64_t v) { return static_cast<int>(v); };
  return {i(s.H), i(s.W), i(s.C), i(s.outH), i(s.outW), i(s.pad_top), i(s.pad_left)};
}

// Calls body(first image, threads) for so many images that the threads can be counted in 32 bits.
template <class Body>
cudaError_t each_part(int64_t images, int64_t threads_of_image, Body body) {
  if (threads_of_image == 0) return cudaSuccess;
  const int64_t most = std::max<int64_t>(1, ((int64_t{1} << 31) - 1) / threads_of_image);
  for (int64_t n = 0; n < images; n += most) {
    const cudaError_t error = body(n, std::min(most, images - n) * threads_of_image);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

template <class T>
cudaError_t depthwise(cudaStream_t stream, T* y, const T* x, const T* filter, const float* bias, const DepthwiseShape& shape,
                      const Clip& clip) {
  if (!valid(shape)) return cudaErrorInvalidValue;
  const bool wide = shape.C % kVectorSize<T> == 0 && aligned16(y, x, filter);
  const auto kernel = wide ? shape.stride == 1 ? depthwise_kernel<T, kVectorSize<T>, 1> : depthwise_kernel<T, kVectorSize<T>, 2>
                      : shape.stride == 1 ? depthwise_kernel<T, 1, 1>
                                          : depthwise_kernel<T, 1, 2>;
  const int64_t groups = ceil_div(shape.outW, kColumns), channels = wide ? shape.C / kVectorSize<T> : shape.C;
  return each_part(shape.N, shape.outH * groups * channels, [&](int64_t n, int64_t threads) {
    return launch(stream, kernel, grid_of(ceil_div(threads, kThreads)), kThreads, y + n * shape.outH * shape.outW * shape.C,
                  x + n * shape.H * shape.W * shape.C, filter, bias, sizes_of(shape), groups, threads, clip);
  });
}

template <class T>
cudaError_t depthwise_backward(cudaStream_t stream, T* dx, const T* dy, const T* y, const T* filter, const DepthwiseShape& shape,
                               const Clip& clip, bool accumulate) {
  if (!valid(shape)) return cudaErrorInvalidValue;
  if (!clip.changes()) y = nullptr;
  const bool wide = shape.C % kVectorSize<T> == 0 && aligned16(dx, dy, y, filter);
  const auto kernel =
      wide ? shape.stride == 1 ? depthwise_backward_kernel<T, kVectorSize<T>, 1> : depthwise_backward_kernel<T, kVectorSize<T>, 2>
      : shape.stride == 1 ? depthwise_backward_kernel<T, 1, 1>
                          : depthwise_backward_kernel<T, 1, 2>;
  const int64_t groups = ceil_div(shape.W + shape.pad_left % shape.stride, kColumns);
  const int64_t channels = wide ? shape.C / kVectorSize<T> : shape.C, image = shape.outH * shape.outW * shape.C;
  return each_part(shape.N, shape.H * groups * channels, [&](int64_t n, int64_t threads) {
    return launch(stream, kernel, grid_of(ceil_div(threads, kThreads)), kThreads, dx + n * shape.H * shape.W * shape.C, dy + n * image,
                  y != nullptr ? y + n * image : y, filter, sizes_of(shape), groups, threads, clip, accumulate);
  });
}

#define ACTMATCH_INSTANTIATE(T)                                                                                              \
  template cudaError_t depthwise<T>(cudaStream_t, T*, const T*, const T*, const float*, const DepthwiseShape&, const Clip&); \
  template cudaError_t depthwise_backward<T>(cudaStream_t, T*, const T*, const T*, const T*, const DepthwiseShape&, const Clip&, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(bfloat16)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels::cuda
