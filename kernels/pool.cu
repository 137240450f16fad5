// Pooling of NHWC. A thread has up to 16 bytes of the channels of an output, or in the gradients of an input; a gradient is gathered from
// the windows that cover the element, so nothing is written twice. Bound by memory: neighbouring windows find their common inputs in the
// cache.
#include "kernels/common/walk.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

// The windows of one axis.
struct Axis {
  int32_t in, out, kernel, stride, pad, pad_end, dilation;
  FastDivisor by_stride;

  // Taps of output i that lie inside are begin <= t < end.
  __device__ __forceinline__ int32_t begin(int32_t i) const {
    const int32_t start = i * stride - pad;
    return start >= 0 ? 0 : steps(-start);
  }
  __device__ __forceinline__ int32_t end(int32_t i) const { return below(i, in); }
  // Taps on the input or the padding, for the average that counts these.
  __device__ __forceinline__ int32_t with_padding(int32_t i) const { return below(i, in + pad_end); }
  // Outputs first .. last may cover input position p; that is so when tap() says which tap it is.
  __device__ __forceinline__ int32_t first(int32_t p) const {
    const int32_t beyond = p + pad - (kernel - 1) * dilation;
    return beyond <= 0 ? 0 : static_cast<int32_t>(by_stride.quotient(static_cast<uint32_t>(beyond + stride - 1)));
  }
  __device__ __forceinline__ int32_t last(int32_t p) const {
    const auto i = static_cast<int32_t>(by_stride.quotient(static_cast<uint32_t>(p + pad)));
    return i < out ? i : out - 1;
  }
  // -1: not covered, a dilated window steps over it.
  __device__ __forceinline__ int32_t tap(int32_t i, int32_t p) const {
    const int32_t way = p + pad - i * stride;
    if (dilation == 1) return way;
    return way % dilation == 0 ? way / dilation : -1;
  }

 private:
  // Of `dilation` each, how many reach as far as `way`.
  __device__ __forceinline__ int32_t steps(int32_t way) const { return dilation == 1 ? way : (way + dilation - 1) / dilation; }
  __device__ __forceinline__ int32_t below(int32_t i, int32_t limit) const {
    const int32_t way = limit + pad - i * stride;  // taps at t * dilation < way
    if (way <= 0) return 0;
    return steps(way) < kernel ? steps(way) : kernel;
  }
};

struct Pool {
  Axis rows, columns;
  int32_t C;
  uint32_t count;                    // packs
  FastDivisor packs, width, height;  // of what the threads run over: outputs, or inputs in the gradients
};

struct Position {
  int32_t n, row, column, c;
};
template <int V>
__device__ __forceinline__ Position position_of(const Pool& p, uint32_t i) {
  const uint32_t pixel = p.packs.quotient(i), line = p.width.quotient(pixel), n = p.height.quotient(line);
  return {static_cast<int32_t>(n), static_cast<int32_t>(line - n * p.height.divisor), static_cast<int32_t>(pixel - line * p.width.divisor),
          static_cast<int32_t>(i - pixel * p.packs.divisor) * V};
}
__device__ __forceinline__ int32_t input_at(const Pool& p, const Position& at, int32_t row, int32_t column) {
  return ((at.n * p.rows.in + row) * p.columns.in + column) * p.C + at.c;
}
__device__ __forceinline__ int32_t output_at(const Pool& p, const Position& at, int32_t row, int32_t column) {
  return ((at.n * p.rows.out + row) * p.columns.out + column) * p.C + at.c;
}

template <int V, class T>
__device__ __forceinline__ void read(float (&v)[V], const T* x) {
  const auto pack = *reinterpret_cast<const Pack<T, V>*>(x);
  for (int k = 0; k < V; ++k) v[k] = to_float(pack.v[k]);
}
template <int V, class T>
__device__ __forceinline__ void write(T* y, const float (&v)[V], bool accumulate) {
  auto* to = reinterpret_cast<Pack<T, V>*>(y);
  Pack<T, V> pack;
  if (accumulate) pack = *to;
  for (int k = 0; k < V; ++k) pack.v[k] = from_float<T>(accumulate ? to_float(pack.v[k]) + v[k] : v[k]);
  *to = pack;
}

template <int V, class T, class W>
__global__ void __launch_bounds__(kThreads) max_pool_kernel(T* y, W* winner, const T* x, Pool p) {
  const auto i = static_cast<uint32_t>(flat_index());
  if (i >= p.count) return;
  const Position at = position_of<V>(p, i);
  float best[V];
  int32_t tap[V];
  for (int k = 0; k < V; ++k) {
    best[k] = -INFINITY;
    tap[k] = -1;
  }
  for (int32_t r = p.rows.begin(at.row); r < p.rows.end(at.row); ++r) {
    for (int32_t s = p.columns.begin(at.column); s < p.columns.end(at.column); ++s) {
      const int32_t row = at.row * p.rows.stride - p.rows.pad + r * p.rows.dilation;
      const int32_t column = at.column * p.columns.stride - p.columns.pad + s * p.columns.dilation;
      float v[V];
      read(v, x + input_at(p, at, row, column));
      for (int k = 0; k < V; ++k) {
        // The first of equals stays; a NaN wins, the first of them.
        if (tap[k] >= 0 && (v[k] <= best[k] || best[k] != best[k])) continue;
        best[k] = v[k];
        tap[k] = r * p.columns.kernel + s;
      }
    }
  }
  const int32_t to = output_at(p, at, at.row, at.column);
  if (winner != nullptr) {
    Pack<W, V> pack;
    for (int k = 0; k < V; ++k) pack.v[k] = static_cast<W>(tap[k]);
    *reinterpret_cast<Pack<W, V>*>(winner + to) = pack;
  }
  write(y + to, best, false);
}

template <int V, class T, class W>
__global__ void __launch_bounds__(kThreads) max_pool_backward_kernel(T* dx, const T* dy, const W* winner, Pool p, bool accumulate) {
  const auto i = static_cast<uint32_t>(flat_index());
  if (i >= p.count) return;
  const Position at = position_of<V>(p, i);
  float sum[V] = {};
  const int32_t last_row = p.rows.last(at.row), last_column = p.columns.last(at.column);
  for (int32_t row = p.rows.first(at.row); row <= last_row; ++row) {
    const int32_t r = p.rows.tap(row, at.row);
    if (r < 0) continue;
    for (int32_t column = p.columns.first(at.column); column <= last_column; ++column) {
      const int32_t s = p.columns.tap(column, at.column);
      if (s < 0) continue;
      const int32_t from = output_at(p, at, row, column), tap = r * p.columns.kernel + s;
      const auto won = *reinterpret_cast<const Pack<W, V>*>(winner + from);
      float d[V];
      read(d, dy + from);
      for (int k = 0; k < V; ++k) sum[k] += static_cast<int32_t>(won.v[k]) == tap ? d[k] : 0.0f;
    }
  }
  write(dx + input_at(p, at, at.row, at.column), sum, accumulate);
}

__device__ __forceinline__ float share(const Pool& p, int32_t row, int32_t column, bool include_pad) {
  const int32_t r = include_pad ? p.rows.with_padding(row) : p.rows.end(row) - p.rows.begin(row);
  const int32_t s = include_pad ? p.columns.with_padding(column) : p.columns.end(column) - p.columns.begin(column);
  return r > 0 && s > 0 ? 1.0f / (static_cast<float>(r) * static_cast<float>(s)) : 0.0f;
}

template <int V, class T>
__global__ void __launch_bounds__(kThreads) average_pool_kernel(T* y, const T* x, Pool p, bool include_pad) {
  const auto i = static_cast<uint32_t>(flat_index());
  if (i >= p.count) return;
  const Position at = position_of<V>(p, i);
  float sum[V] = {};
  for (int32_t r = p.rows.begin(at.row); r < p.rows.end(at.row); ++r) {
    for (int32_t s = p.columns.begin(at.column); s < p.columns.end(at.column); ++s) {
      const int32_t row = at.row * p.rows.stride - p.rows.pad + r * p.rows.dilation;
      const int32_t column = at.column * p.columns.stride - p.columns.pad + s * p.columns.dilation;
      float v[V];
      read(v, x + input_at(p, at, row, column));
      for (int k = 0; k < V; ++k) sum[k] += v[k];
    }
  }
  const float factor = share(p, at.row, at.column, include_pad);
  for (int k = 0; k < V; ++k) sum[k] *= factor;
  write(y + output_at(p, at, at.row, at.column), sum, false);
}

template <int V, class T>
__global__ void __launch_bounds__(kThreads) average_pool_backward_kernel(T* dx, const T* dy, Pool p, bool include_pad, bool accumulate) {
  const auto i = static_cast<uint32_t>(flat_index());
  if (i >= p.count) return;
  const Position at = position_of<V>(p, i);
  float sum[V] = {};
  const int32_t last_row = p.rows.last(at.row), last_column = p.columns.last(at.column);
  for (int32_t row = p.rows.first(at.row); row <= last_row; ++row) {
    if (p.rows.tap(row, at.row) < 0) continue;
    for (int32_t column = p.columns.first(at.column); column <= last_column; ++column) {
      if (p.columns.tap(column, at.column) < 0) continue;
      const float factor = share(p, row, column, include_pad);
      float d[V];
      read(d, dy + output_at(p, at, row, column));
      for (int k = 0; k < V; ++k) sum[k] += factor * d[k];
    }
  }
  write(dx + input_at(p, at, at.row, at.column), sum, accumulate);
}

Axis axis_of(const PoolShape& s, int axis) {
  const auto narrow = [](int64_t v) { return static_cast<int32_t>(v); };
  return {narrow(axis == 0 ? s.H : s.W), narrow(axis == 0 ? s.out_h : s.out_w),
          narrow(s.kernel[axis]),        narrow(s.strides[axis]),
          narrow(s.pads[axis]),          narrow(s.pads[2 + axis]),
          narrow(s.dilations[axis]),     FastDivisor(s.strides[axis])};
}

// Everything a kernel computes of one axis stays below 2^31, and the tensors of one image do.
bool in_range(const PoolShape& s) {
  for (int a = 0; a < 2; ++a) {
    const int64_t in = a == 0 ? s.H : s.W, out = a == 0 ? s.out_h : s.out_w;
    if (s.kernel[a] < 1 || s.strides[a] < 1 || s.dilations[a] < 1 || s.pads[a] < 0 || s.pads[2 + a] < 0) return false;
    for (const int64_t v : {in, out, s.kernel[a], s.strides[a], s.pads[a], s.pads[2 + a], s.dilations[a]})
      if (v > kIndexLimit / 8) return false;
    if (s.kernel[a] * s.dilations[a] > kIndexLimit / 4 || out * s.strides[a] > kIndexLimit / 4) return false;
  }
  return s.kernel[0] * s.kernel[1] < kIndexLimit && s.H * s.W * s.C < kIndexLimit && s.out_h * s.out_w * s.C < kIndexLimit;
}

bool byte_winner(const PoolShape& s) { return s.kernel[0] * s.kernel[1] <= 255; }

bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// run(pool, grid, first input, first output) for as many images at a time as 32-bit indices reach. packs: channels a thread.
template <class Run>
cudaError_t in_parts(const PoolShape& s, bool over_inputs, int64_t V, Run run) {
  if (!in_range(s)) return cudaErrorInvalidValue;
  const int64_t input = s.H * s.W * s.C, output = s.out_h * s.out_w * s.C;
  if ((over_inputs ? input : output) == 0) return cudaSuccess;
  const int64_t most = kIndexLimit / std::max(input, output);
  for (int64_t first = 0; first < s.N; first += most) {
    const int64_t images = std::min(most, s.N - first), packs = s.C / V;
    const int64_t height = over_inputs ? s.H : s.out_h, width = over_inputs ? s.W : s.out_w;
    const Pool pool{
        axis_of(s, 0),      axis_of(s, 1),      static_cast<int32_t>(s.C), static_cast<uint32_t>(images * height * width * packs),
        FastDivisor(packs), FastDivisor(width), FastDivisor(height)};
    const cudaError_t error = run(pool, grid_of(ceil_div(pool.count, kThreads)), first * input, first * output);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

template <class T>
constexpr int kWide = 16 / sizeof(T);

template <int V, class T, class W>
cudaError_t run_max_pool(cudaStream_t stream, T* y, W* winner, const T* x, const PoolShape& s) {
  return in_parts(s, false, V, [&](const Pool& pool, dim3 grid, int64_t in, int64_t out) {
    return launch(stream, max_pool_kernel<V, T, W>, grid, kThreads, y + out, winner == nullptr ? nullptr : winner + out, x + in, pool);
  });
}
template <int V, class T, class W>
cudaError_t run_max_pool_backward(cudaStream_t stream, T* dx, const T* dy, const W* winner, const PoolShape& s, bool accumulate) {
  return in_parts(s, true, V, [&](const Pool& pool, dim3 grid, int64_t in, int64_t out) {
    return launch(stream, max_pool_backward_kernel<V, T, W>, grid, kThreads, dx + in, dy + out, winner + out, pool, accumulate);
  });
}

}  // namespace

size_t max_pool_winner_bytes(const PoolShape& s) {
  return static_cast<size_t>(s.N * s.out_h * s.out_w * s.C) * (byte_winner(s) ? 1 : sizeof(int32_t));
}

template <class T>
cudaError_t max_pool(cudaStream_t stream, T* y, void* winner, const T* x, const PoolShape& shape) {
  constexpr int V = kWide<T>;
  auto* bytes = static_cast<uint8_t*>(winner);
  auto* words = static_cast<int32_t*>(winner);
  if (shape.C % V == 0 && aligned(x) && aligned(y) && aligned(winner))
    return byte_winner(shape) ? run_max_pool<V>(stream, y, bytes, x, shape) : run_max_pool<V>(stream, y, words, x, shape);
  return byte_winner(shape) ? run_max_pool<1>(stream, y, bytes, x, shape) : run_max_pool<1>(stream, y, words, x, shape);
}

template <class T>
cudaError_t max_pool_backward(cudaStream_t stream, T* dx, const T* dy, const void* winner, const PoolShape& shape, bool accumulate) {
  constexpr int V = kWide<T>;
  const auto* bytes = static_cast<const uint8_t*>(winner);
  const auto* words = static_cast<const int32_t*>(winner);
  if (shape.C % V == 0 && aligned(dx) && aligned(dy) && aligned(winner))
    return byte_winner(shape) ? run_max_pool_backward<V>(stream, dx, dy, bytes, shape, accumulate)
                              : run_max_pool_backward<V>(stream, dx, dy, words, shape, accumulate);
  return byte_winner(shape) ? run_max_pool_backward<1>(stream, dx, dy, bytes, shape, accumulate)
                            : run_max_pool_backward<1>(stream, dx, dy, words, shape, accumulate);
}

template <class T>
cudaError_t average_pool(cudaStream_t stream, T* y, const T* x, const PoolShape& shape, bool include_pad) {
  constexpr int V = kWide<T>;
  const bool packs = shape.C % V == 0 && aligned(x) && aligned(y);
  return in_parts(shape, false, packs ? V : 1, [&](const Pool& pool, dim3 grid, int64_t in, int64_t out) {
    return launch(stream, packs ? average_pool_kernel<V, T> : average_pool_kernel<1, T>, grid, kThreads, y + out, x + in, pool,
                  include_pad);
  });
}

template <class T>
cudaError_t average_pool_backward(cudaStream_t stream, T* dx, const T* dy, const PoolShape& shape, bool include_pad, bool accumulate) {
  constexpr int V = kWide<T>;
  const bool packs = shape.C % V == 0 && aligned(dx) && aligned(dy);
  return in_parts(shape, true, packs ? V : 1, [&](const Pool& pool, dim3 grid, int64_t in, int64_t out) {
    return launch(stream, packs ? average_pool_backward_kernel<V, T> : average_pool_backward_kernel<1, T>, grid, kThreads, dx + in,
                  dy + out, pool, include_pad, accumulate);
  });
}

#define ACTMATCH_INSTANTIATE(T)                                                                               \
  template cudaError_t max_pool<T>(cudaStream_t, T*, void*, const T*, const PoolShape&);                      \
  template cudaError_t max_pool_backward<T>(cudaStream_t, T*, const T*, const void*, const PoolShape&, bool); \
  template cudaError_t average_pool<T>(cudaStream_t, T*, const T*, const PoolShape&, bool);                   \
  template cudaError_t average_pool_backward<T>(cudaStream_t, T*, const T*, const PoolShape&, bool, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(bfloat16)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels::cuda
