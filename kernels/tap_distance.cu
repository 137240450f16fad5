// Chooses the kernel of a kind, then adds its partial sums: one block an image.
#include "kernels/common/tap.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__device__ __forceinline__ double total_of(const double* partial, int64_t count) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += partial[static_cast<int64_t>(blockIdx.x) * count + i];
  return block_sum(sum);
}

__global__ void __launch_bounds__(kThreads)
    tap_constant_kernel(float* constant, const double* partial, int64_t count, TapDistance kind, double C, double HW) {
  const double total = total_of(partial, count);
  if (threadIdx.x != 0) return;
  double result = 0;
  if (kind == TapDistance::kKlChannels) result = total / HW;
  if (kind == TapDistance::kKlPositions) result = total / C;
  if (kind == TapDistance::kMse) result = fmax(total / (C * HW), 1e-12);
  constant[blockIdx.x] = static_cast<float>(result);
}

__global__ void __launch_bounds__(kThreads) tap_value_kernel(float* value, const double* partial, int64_t count, const float* constant,
                                                             TapDistance kind, int64_t B, double C, double HW) {
  const double total = total_of(partial, count);
  if (threadIdx.x != 0) return;
  const int64_t n = blockIdx.x;
  const double known = static_cast<double>(constant[n % B]);
  double result = 0;
  switch (kind) {
    case TapDistance::kKlChannels: result = known + total / HW; break;
    case TapDistance::kKlPositions: result = known + total / C; break;
    case TapDistance::kCosine: result = 1 - total / HW; break;
    case TapDistance::kMse: result = total / (known * C * HW); break;
    case TapDistance::kStandardisedMse: result = total / (C * HW); break;
  }
  value[n] = static_cast<float>(result);
}

int64_t partials_of(TapDistance kind, const TapShape& shape) {
  return kind == TapDistance::kMse ? tap_mse_partials(shape) : tap_line_partials(shape, kind);
}

}  // namespace

size_t tap_distance_scratch_bytes(TapDistance kind, int64_t B, int64_t P, int64_t C, int64_t HW) {
  return static_cast<size_t>(P * B * partials_of(kind, {B, P, C, HW})) * sizeof(double);
}
size_t tap_prepare_scratch_bytes(TapDistance kind, int64_t B, int64_t C, int64_t HW) {
  return tap_distance_scratch_bytes(kind, B, 1, C, HW);
}

cudaError_t tap_prepare(cudaStream_t stream, float* prepared, float* constant, const float* reference, TapDistance kind, ChannelOrder order,
                        int64_t B, int64_t C, int64_t HW, void* scratch) {
  auto* partial = static_cast<double*>(scratch);
  const TapPrepareArguments a{prepared, reference, {B, 1, C, HW}};
  const cudaError_t error =
      kind == TapDistance::kMse ? tap_mse_prepare(stream, partial, a) : tap_lines_prepare(stream, partial, a, kind, order);
  if (error != cudaSuccess) return error;
  return launch(stream, tap_constant_kernel, grid_of(B), kThreads, constant, partial, partials_of(kind, a.shape), kind,
                static_cast<double>(C), static_cast<double>(HW));
}

cudaError_t tap_distance(cudaStream_t stream, float* value, float* gradient, const float* current, const float* prepared,
                         const float* constant, const float* weight, TapDistance kind, ChannelOrder order, int64_t B, int64_t P, int64_t C,
                         int64_t HW, bool accumulate, void* scratch) {
  auto* partial = static_cast<double*>(scratch);
  const TapDistanceArguments a{gradient, current, prepared, constant, weight, {B, P, C, HW}, accumulate};
  const cudaError_t error = kind == TapDistance::kMse ? tap_mse(stream, partial, a) : tap_lines(stream, partial, a, kind, order);
  if (error != cudaSuccess) return error;
  return launch(stream, tap_value_kernel, grid_of(P * B), kThreads, value, partial, partials_of(kind, a.shape), constant, kind, B,
                static_cast<double>(C), static_cast<double>(HW));
}

}  // namespace actmatch::kernels::cuda
