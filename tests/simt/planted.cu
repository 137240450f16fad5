#include "planted.h"

#include <stdexcept>

#include "mma.h"

namespace simt::planted {
namespace {

__global__ void block_sum_kernel(float* sums, const float* x, bool barrier) {
  __shared__ float part[128];
  const unsigned t = threadIdx.x;
  part[t] = x[blockIdx.x * 128 + t];
  if (barrier) __syncthreads();
  for (unsigned half = 64; half > 0; half /= 2) {
    if (t < half) part[t] += part[t + half];
    if (barrier) __syncthreads();
  }
  if (t == 0) sums[blockIdx.x] = part[0];
}

__global__ void reuse_kernel(float* y, bool barrier) {
  __shared__ float words[4];
  const unsigned warp = threadIdx.x / 32;
  float sum = 0;
  for (int round = 0; round < 16; ++round) {
    if (threadIdx.x % 32 == 0) words[warp] = static_cast<float>(round);
    __syncthreads();
    __syncwarp();
    sum += words[3 - warp];
    if (barrier) __syncthreads();
  }
  y[threadIdx.x] = sum;
}

__global__ void shifted_copy_kernel(float* y, const float* x, int shift) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  y[i] = x[i + shift];
}

__global__ void shared_write_kernel(float* y, int shift) {
  __shared__ float row[64];
  row[static_cast<int>(threadIdx.x) + shift] = 1;
  __syncthreads();
  y[threadIdx.x] = row[threadIdx.x];
}

__global__ void divergent_barrier_kernel() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void barrier_not_reached_kernel() {
  if (threadIdx.x == 5) {
    __shfl_xor_sync(0xffffffffu, 1, 1);
  } else {
    __syncthreads();
  }
}

__global__ void missing_lane_kernel() {
  if (threadIdx.x % 32 != 7) {
    __shfl_xor_sync(0xffffffffu, 1, 1);
  } else {
    __syncthreads();
  }
}

__global__ void ended_lane_kernel() {
  if (threadIdx.x % 32 == 7) return;
  __shfl_xor_sync(0xffffffffu, 1, 1);
}

__global__ void caller_left_out_kernel() { __shfl_sync(0x0000ffffu, 1, 0); }

__global__ void unwritten_shared_kernel(float* y) {
  __shared__ float row[64];
  y[threadIdx.x] = row[threadIdx.x];
}

template <class... Parameters, class... Arguments>
void run(void (*kernel)(Parameters...), int blocks, int threads, Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  if (cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...) != cudaSuccess) throw std::runtime_error("launch");
}

__global__ void matrix_product_kernel(float* d, const uint16_t* a, const uint16_t* b, bool b_rows, int shift) {
  alignas(16) __shared__ uint16_t left[16 * 16 + 8], right[16 * 8 * 2];
  const int l = static_cast<int>(threadIdx.x), eight = l / 8;
  for (int i = l; i < 256; i += 32) left[i + shift] = a[i];
  for (int i = l; i < 128; i += 32) right[i] = right[128 + i] = b[i];
  __syncthreads();
  uint32_t of_a[4], of_b[4];
  load_matrices(of_a, left + shift + (8 * (eight % 2) + l % 8) * 16 + 8 * (eight / 2), false, SIMT_HERE);
  load_matrices(of_b, b_rows ? right + l * 8 : right + l % 8 * 16 + 8 * (eight % 2), b_rows, SIMT_HERE);
  float sum[4] = {};
  multiply_matrices(sum, of_a, {of_b[0], of_b[1]}, SIMT_HERE);
  for (int i = 0; i < 4; ++i) d[(l / 4 + 8 * (i / 2)) * 8 + 2 * (l % 4) + i % 2] = sum[i];
}

}  // namespace

void block_sum(float* sums, const float* x, int blocks, bool barrier) { run(block_sum_kernel, blocks, 128, sums, x, barrier); }
void reuse(float* y, bool barrier) { run(reuse_kernel, 1, 128, y, barrier); }
void shifted_copy(float* y, const float* x, int n, int shift) { run(shifted_copy_kernel, n / 64, 64, y, x, shift); }
void shared_write(float* y, int shift) { run(shared_write_kernel, 1, 64, y, shift); }
void divergent_barrier() { run(divergent_barrier_kernel, 1, 64); }
void barrier_not_reached() { run(barrier_not_reached_kernel, 1, 64); }
void missing_lane() { run(missing_lane_kernel, 1, 64); }
void ended_lane() { run(ended_lane_kernel, 1, 64); }
void caller_left_out() { run(caller_left_out_kernel, 1, 64); }
void unwritten_shared(float* y) { run(unwritten_shared_kernel, 1, 64, y); }
void matrix_product(float* d, const uint16_t* a, const uint16_t* b, bool b_rows, int shift) {
  run(matrix_product_kernel, 1, 32, d, a, b, b_rows, shift);
}

}  // namespace simt::planted
