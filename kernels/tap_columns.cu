// KL over the channels and cosine: a block takes 32 neighbouring positions and goes down their channels with eight warps, each every eighth
// channel; reads are 32 neighbours wide.
#include "kernels/common/softmax.cuh"
#include "kernels/common/tap.cuh"

namespace actmatch::kernels::cuda {
namespace {

constexpr int kSlices = kThreads / 32;

// Sum, or maximum, over the eight slices of a position.
static __device__ float over_slices(float v, bool maximum) {
  __shared__ float all[kSlices][32];
  const int lane = thread_index() % 32, slice = thread_index() / 32;
  all[slice][lane] = v;
  __syncthreads();
  float result = all[0][lane];
  for (int k = 1; k < kSlices; ++k) result = maximum ? fmaxf(result, all[k][lane]) : result + all[k][lane];
  __syncthreads();
  return result;
}

struct Column {
  int64_t i, C, HW;
  int slice;
  bool valid;
  __device__ __forceinline__ explicit Column(const TapShape& shape)
      : i(static_cast<int64_t>(blockIdx.x) * 32 + thread_index() % 32),
        C(shape.C),
        HW(shape.HW),
        slice(thread_index() / 32),
        valid(i < HW) {}
  // run(offset) for this thread's channels.
  template <class Run>
  __device__ __forceinline__ void each(Run run) const {
    if (!valid) return;
    for (int64_t c = slice; c < C; c += kSlices) run(c * HW + i);
  }
};

// One value a position, held by all its slices, to one partial sum a block.
__device__ __forceinline__ void store_partial(double* partial, const Column& column, float v) {
  if (column.slice != 0) return;  // whole warps
  const double sum = warp_sum(column.valid ? static_cast<double>(v) : 0.0);
  if (threadIdx.x == 0) partial[static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x] = sum;
}

__device__ __forceinline__ float column_max(const Column& column, const float* v) {
  float hi = -INFINITY;
  column.each([&](int64_t at) { hi = fmaxf(hi, v[at]); });
  return over_slices(hi, true);
}

__global__ void __launch_bounds__(kThreads) kl_channels_prepare_kernel(double* partial, TapPrepareArguments a) {
  const Column column(a.shape);
  const int64_t offset = static_cast<int64_t>(blockIdx.y) * column.C * column.HW;
  const float* x = a.reference + offset;
  float* prepared = a.prepared + offset;
  const float hi = column_max(column, x);
  float sum = 0;
  column.each([&](int64_t at) { sum += expf(x[at] - hi); });
  sum = over_slices(sum, false);
  float entropy = 0;  // sum p log p = sum p (x - hi) - log(sum)
  column.each([&](int64_t at) {
    const float shifted = x[at] - hi, p = expf(shifted) / sum;
    entropy += p * shifted;
    prepared[at] = p;
  });
  store_partial(partial, column, over_slices(entropy, false) - logf(sum));
}

__global__ void __launch_bounds__(kThreads) kl_channels_kernel(double* partial, TapDistanceArguments a) {
  const Column column(a.shape);
  const int64_t n = blockIdx.y, size = column.C * column.HW;
  const float *v = a.current + n * size, *p = a.prepared + n % a.shape.B * size;
  const float hi = column_max(column, v);
  float sum = 0, cross = 0;
  column.each([&](int64_t at) {
    const float shifted = v[at] - hi;
    sum += expf(shifted);
    cross += p[at] * shifted;
  });
  sum = over_slices(sum, false);
  cross = over_slices(cross, false);
  store_partial(partial, column, logf(sum) - cross);
  if (a.gradient == nullptr) return;
  float* g = a.gradient + n * size;
  const float scale = a.weight[n] / static_cast<float>(column.HW);
  column.each([&](int64_t at) { emit(g + at, scale * (expf(v[at] - hi) / sum - p[at]), a.accumulate); });
}

// 1 / |x[:, i]|, 0 where the norm is within the guard.
__device__ __forceinline__ float inverse_norm(const Column& column, const float* x) {
  float squares = 0;
  column.each([&](int64_t at) { squares += x[at] * x[at]; });
  const float norm = sqrtf(over_slices(squares, false));
  return norm <= 1e-8f ? 0.0f : 1.0f / norm;
}

__global__ void __launch_bounds__(kThreads) cosine_prepare_kernel(double* partial, TapPrepareArguments a) {
  const Column column(a.shape);
  const int64_t offset = static_cast<int64_t>(blockIdx.y) * column.C * column.HW;
  const float inverse = inverse_norm(column, a.reference + offset);
  column.each([&](int64_t at) { a.prepared[offset + at] = a.reference[offset + at] * inverse; });
  store_partial(partial, column, 0);
}

__global__ void __launch_bounds__(kThreads) cosine_kernel(double* partial, TapDistanceArguments a) {
  const Column column(a.shape);
  const int64_t n = blockIdx.y, size = column.C * column.HW;
  const float *v = a.current + n * size, *unit = a.prepared + n % a.shape.B * size;
  const float inverse = inverse_norm(column, v);
  float dot = 0;
  column.each([&](int64_t at) { dot += unit[at] * v[at]; });
  const float cos = over_slices(dot, false) * inverse;
  store_partial(partial, column, cos);
  if (a.gradient == nullptr) return;
  // d cos / dv = (unit - cos * v / |v|) / |v|
  float* g = a.gradient + n * size;
  const float scale = -a.weight[n] / static_cast<float>(column.HW) * inverse, along = cos * inverse;
  column.each([&](int64_t at) { emit(g + at, scale * (unit[at] - along * v[at]), a.accumulate); });
}

}  // namespace

int64_t tap_column_partials(const TapShape& shape) { return ceil_div(shape.HW, 32); }

cudaError_t tap_columns(cudaStream_t stream, double* partial, const TapDistanceArguments& a, TapDistance kind) {
  const dim3 grid = grid_of(tap_column_partials(a.shape), a.shape.P * a.shape.B);
  return launch(stream, kind == TapDistance::kCosine ? cosine_kernel : kl_channels_kernel, grid, kThreads, partial, a);
}

cudaError_t tap_columns_prepare(cudaStream_t stream, double* partial, const TapPrepareArguments& a, TapDistance kind) {
  const dim3 grid = grid_of(tap_column_partials(a.shape), a.shape.B);
  return launch(stream, kind == TapDistance::kCosine ? cosine_prepare_kernel : kl_channels_prepare_kernel, grid, kThreads, partial, a);
}

}  // namespace actmatch::kernels::cuda
