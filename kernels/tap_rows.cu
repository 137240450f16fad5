// KL over the positions and standardised MSE: a warp takes one channel's positions, one row in memory; four warps a block.
#include "kernels/common/softmax.cuh"
#include "kernels/common/tap.cuh"

namespace actmatch::kernels::cuda {
namespace {

constexpr int kRows = 4;
constexpr double kSigmaGuard = 1e-6;

__device__ __forceinline__ int64_t row_index() { return static_cast<int64_t>(blockIdx.x) * kRows + thread_index() / 32; }

// Sum of term(i) over the row, in double.
template <class Term>
__device__ __forceinline__ double row_sum(int64_t HW, Term term) {
  double sum = 0;
  for (int64_t i = thread_index() % 32; i < HW; i += 32) sum += static_cast<double>(term(i));
  return warp_sum(sum);
}
template <class Run>
__device__ __forceinline__ void each(int64_t HW, Run run) {
  for (int64_t i = thread_index() % 32; i < HW; i += 32) run(i);
}
__device__ __forceinline__ bool first_lane() { return thread_index() % 32 == 0; }

struct RowExponentials {
  const float* x;
  float hi, inverse;
  double sum;
  __device__ __forceinline__ RowExponentials(const float* row, int64_t HW) : x(row), hi(-INFINITY) {
    each(HW, [&](int64_t i) { hi = fmaxf(hi, x[i]); });
    hi = warp_max(hi);
    sum = row_sum(HW, [&](int64_t i) { return expf(x[i] - hi); });
    inverse = static_cast<float>(1 / sum);
  }
  __device__ __forceinline__ float operator[](int64_t i) const { return expf(x[i] - hi) * inverse; }
};

__global__ void __launch_bounds__(32 * kRows) kl_positions_prepare_kernel(double* partial, TapPrepareArguments a) {
  const int64_t r = row_index(), HW = a.shape.HW;
  if (r >= a.shape.B * a.shape.C) return;  // a whole warp
  const float* x = a.reference + r * HW;
  float* prepared = a.prepared + r * HW;
  const RowExponentials p(x, HW);
  const double total = row_sum(HW, [&](int64_t i) { return p[i] * (x[i] - p.hi); }) - log(p.sum);
  each(HW, [&](int64_t i) { prepared[i] = p[i]; });
  if (first_lane()) partial[r] = total;
}

__global__ void __launch_bounds__(32 * kRows) kl_positions_kernel(double* partial, TapDistanceArguments a) {
  const int64_t r = row_index(), HW = a.shape.HW, C = a.shape.C, n = r / C;
  if (n >= a.shape.P * a.shape.B) return;
  const float *v = a.current + r * HW, *p = a.prepared + (n % a.shape.B * C + r % C) * HW;
  const RowExponentials q(v, HW);
  const double total = log(q.sum) - row_sum(HW, [&](int64_t i) { return p[i] * (v[i] - q.hi); });
  if (first_lane()) partial[r] = total;
  if (a.gradient == nullptr) return;
  const float scale = a.weight[n] / static_cast<float>(C);
  each(HW, [&](int64_t i) { emit(a.gradient + r * HW + i, scale * (q[i] - p[i]), a.accumulate); });
}

struct Standardised {
  const float* x;
  float first, shift;  // the mean is first + shift; kept apart so that a constant row is exactly zero after centring
  float inverse;
  double sigma;
  __device__ __forceinline__ Standardised(const float* row, int64_t HW) : x(row), first(row[0]) {
    const double count = static_cast<double>(HW);
    shift = static_cast<float>(row_sum(HW, [&](int64_t i) { return x[i] - first; }) / count);
    sigma = sqrt(row_sum(HW, [&](int64_t i) { return ((x[i] - first) - shift) * ((x[i] - first) - shift); }) / count);
    inverse = static_cast<float>(1 / (sigma + kSigmaGuard));
  }
  __device__ __forceinline__ float operator[](int64_t i) const { return ((x[i] - first) - shift) * inverse; }
};

__global__ void __launch_bounds__(32 * kRows) standardised_prepare_kernel(double* partial, TapPrepareArguments a) {
  const int64_t r = row_index(), HW = a.shape.HW;
  if (r >= a.shape.B * a.shape.C) return;
  float* prepared = a.prepared + r * HW;
  const Standardised y(a.reference + r * HW, HW);
  __syncwarp();  // in place, the first number of the row is read by all lanes before one of them writes it
  each(HW, [&](int64_t i) { prepared[i] = y[i]; });
  if (first_lane()) partial[r] = 0;
}

__global__ void __launch_bounds__(32 * kRows) standardised_mse_kernel(double* partial, TapDistanceArguments a) {
  const int64_t r = row_index(), HW = a.shape.HW, C = a.shape.C, n = r / C;
  if (n >= a.shape.P * a.shape.B) return;
  const float* target = a.prepared + (n % a.shape.B * C + r % C) * HW;
  const Standardised y(a.current + r * HW, HW);
  const double total = row_sum(HW, [&](int64_t i) { return (y[i] - target[i]) * (y[i] - target[i]); });
  if (first_lane()) partial[r] = total;
  if (a.gradient == nullptr) return;
  // With d = y - target, whose mean over the row is zero:
  //   gradient = scale * (d / (sigma + guard) - y * (sum d y) / (HW sigma)), the second part from sigma's own gradient.
  const double count = static_cast<double>(HW), cross = row_sum(HW, [&](int64_t i) { return (y[i] - target[i]) * y[i]; });
  const float scale = static_cast<float>(2 * static_cast<double>(a.weight[n]) / (static_cast<double>(C) * count));
  const float pull = y.sigma > 0 ? static_cast<float>(cross / (count * y.sigma)) : 0.0f;
  each(HW, [&](int64_t i) { emit(a.gradient + r * HW + i, scale * ((y[i] - target[i]) * y.inverse - y[i] * pull), a.accumulate); });
}

}  // namespace

int64_t tap_row_partials(const TapShape& shape) { return shape.C; }

cudaError_t tap_rows(cudaStream_t stream, double* partial, const TapDistanceArguments& a, TapDistance kind) {
  const dim3 grid = grid_of(ceil_div(a.shape.P * a.shape.B * a.shape.C, kRows));
  return launch(stream, kind == TapDistance::kKlPositions ? kl_positions_kernel : standardised_mse_kernel, grid, 32 * kRows, partial, a);
}

cudaError_t tap_rows_prepare(cudaStream_t stream, double* partial, const TapPrepareArguments& a, TapDistance kind) {
  const dim3 grid = grid_of(ceil_div(a.shape.B * a.shape.C, kRows));
  return launch(stream, kind == TapDistance::kKlPositions ? kl_positions_prepare_kernel : standardised_prepare_kernel, grid, 32 * kRows,
                partial, a);
}

}  // namespace actmatch::kernels::cuda
