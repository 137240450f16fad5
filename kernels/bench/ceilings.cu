#include <algorithm>

#include "kernels/bench/ceilings.h"
#include "kernels/common/launch.cuh"
#include "kernels/common/mma.cuh"

namespace actmatch::kernels::bench {

namespace {

using cuda::grid_of;
using cuda::kThreads;

constexpr int kAhead = 4;  // loads under way in a thread

// `rounds` times over the buffer, past the first-level cache, so that rounds beyond the first meet the L2 cache where the buffers fit it.
// count: a multiple of kAhead * kThreads.
__global__ void __launch_bounds__(kThreads) copy_kernel(float4* to, const float4* from, int64_t count, int rounds) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads * kAhead;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads * kAhead + threadIdx.x;
  for (int round = 0; round < rounds; ++round) {
    for (int64_t i = first; i < count; i += stride) {
      float4 v[kAhead];
#pragma unroll
      for (int j = 0; j < kAhead; ++j) v[j] = __ldcg(from + i + j * kThreads);
#pragma unroll
      for (int j = 0; j < kAhead; ++j) __stcg(to + i + j * kThreads, v[j]);
    }
  }
}

constexpr int kChains = 8;       // independent sums, so that no instruction waits for the one before
constexpr int kSteps = 1 << 12;  // of each

__global__ void __launch_bounds__(kThreads) multiply_add_kernel(float* out, float factor, float summand) {
  float sum[kChains];
  for (int c = 0; c < kChains; ++c) sum[c] = static_cast<float>(threadIdx.x + static_cast<unsigned>(c));
#pragma unroll 4
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int c = 0; c < kChains; ++c) sum[c] = fmaf(sum[c], factor, summand);
  }
  float total = 0;
  for (int c = 0; c < kChains; ++c) total += sum[c];
  if (total == -1.0f) out[0] = total;  // never; keeps the sums alive
}

__global__ void __launch_bounds__(kThreads) matrix_kernel(float* out, uint32_t seed) {
  // Operands of all bit patterns between 1 and 2 with either sign: zeros would take less power, and so let the clock run faster.
  uint32_t a[4], b[kChains][2];
  uint32_t state = seed + threadIdx.x * 2654435761u + blockIdx.x * 40503u;
  const auto next = [&state] {
    state = state * 1664525u + 1013904223u;
    return (((state >> 3) ^ (state >> 17)) & 0x807f807fu) | 0x3f803f80u;
  };
  for (uint32_t& v : a) v = next();
  float sum[kChains][4] = {};
  for (auto& pair : b)
    for (uint32_t& v : pair) v = next();
#pragma unroll 2
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int c = 0; c < kChains; ++c) cuda::multiply_matrices(sum[c], a, b[c]);
  }
  float total = 0;
  for (auto& four : sum)
    for (float v : four) total += v;
  if (total == -1.0f) out[0] = total;
}

__global__ void empty_kernel() {}

int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

constexpr int64_t kCopyUnit = kAhead * kThreads * static_cast<int64_t>(sizeof(float4));

// Bytes read and written a second; bytes_each: a multiple of kCopyUnit.
double copy_rate(Timer& timer, int replays, int64_t bytes_each, int rounds) {
  Memory memory;
  const int64_t count = bytes_each / static_cast<int64_t>(sizeof(float4));
  auto* to = static_cast<float4*>(memory.scratch(static_cast<size_t>(bytes_each)));
  auto* from = static_cast<float4*>(memory.scratch(static_cast<size_t>(bytes_each)));
  const dim3 grid = grid_of(std::min<int64_t>(bytes_each / kCopyUnit, 16 * attribute(cudaDevAttrMultiProcessorCount)));
  double microseconds =
      timer.time([=](cudaStream_t s) { return cuda::launch(s, copy_kernel, grid, kThreads, to, from, count, rounds); }, replays, 2.0)
          .median;
  if (rounds == 1) {  // the driver's own copy may be the quicker one
    const auto copy = [=](cudaStream_t s) {
      return cudaMemcpyAsync(to, from, static_cast<size_t>(bytes_each), cudaMemcpyDeviceToDevice, s);
    };
    microseconds = std::min(microseconds, timer.time(copy, replays, 2.0).median);
  }
  return 2.0 * static_cast<double>(bytes_each) * rounds / (1e-6 * microseconds);
}

}  // namespace

Ceilings measure_ceilings(Timer& timer, int replays) {
  Ceilings c;
  const int processors = attribute(cudaDevAttrMultiProcessorCount);
  c.cache_bytes = static_cast<size_t>(attribute(cudaDevAttrL2CacheSize));
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  const auto large = static_cast<int64_t>(std::min<size_t>(size_t{1} << 30, free / 4)) / kCopyUnit * kCopyUnit;
  c.copy = copy_rate(timer, replays, large, 1);
  const auto small = std::max<int64_t>(static_cast<int64_t>(c.cache_bytes) / 8 / kCopyUnit * kCopyUnit, 1 << 20);
  c.cache_copy = copy_rate(timer, replays, small, 50);
  Memory memory;
  float* out = memory.scratch_floats(1);
  const dim3 grid = grid_of(8 * processors);
  const double threads = 8.0 * processors * kThreads;
  Timing t =
      timer.time([=](cudaStream_t s) { return cuda::launch(s, multiply_add_kernel, grid, kThreads, out, 0.999f, 0.5f); }, replays, 2.0);
  c.fp32 = 2.0 * threads * kChains * kSteps / (1e-6 * t.median);
  t = timer.time([=](cudaStream_t s) { return cuda::launch(s, matrix_kernel, grid, kThreads, out, 7u); }, replays, 2.0);
  c.tensor = 2.0 * 16 * 8 * 16 * (threads / 32) * kChains * kSteps / (1e-6 * t.median);
  t = timer.time([](cudaStream_t s) { return cuda::launch(s, empty_kernel, dim3(1), 32); }, replays, 0.5, 200);
  c.launch = 1e-6 * t.median;
  return c;
}

const char* name_of(Bound bound) {
  switch (bound) {
    case Bound::kLaunch: return "launch";
    case Bound::kMemory: return "memory";
    case Bound::kCache: return "L2";
    case Bound::kFp32: return "fp32";
    case Bound::kTensorCores: return "mma";
  }
  return "";
}

Floor floor_of(const Ceilings& ceilings, size_t traffic, size_t resident, double operations, Unit unit) {
  Floor floor{ceilings.launch, Bound::kLaunch};
  const auto at_least = [&](double seconds, Bound bound) {
    if (seconds > floor.seconds) floor = {seconds, bound};
  };
  const bool cached = resident < ceilings.cache_bytes / 2;
  at_least(static_cast<double>(traffic) / (cached ? ceilings.cache_copy : ceilings.copy), cached ? Bound::kCache : Bound::kMemory);
  if (unit == Unit::kFp32) at_least(operations / ceilings.fp32, Bound::kFp32);
  if (unit == Unit::kTensorCores) at_least(operations / ceilings.tensor, Bound::kTensorCores);
  return floor;
}

}  // namespace actmatch::kernels::bench
