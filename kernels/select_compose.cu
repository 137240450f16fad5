// Composing: one thread a pixel of an image, all channels. Gain: one thread a pixel, all images in order, so that the sum is always the
// same.
#include "kernels/common/launch.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__device__ __forceinline__ float background_of(const SelectSources<float>& sources, const SelectJob& job, int64_t c, int64_t i, int64_t C,
                                               int64_t HW) {
  return job.set < 0 ? sources.colour[c] : sources.sets[job.set][(job.background * C + c) * HW + i];
}

__device__ __forceinline__ bool in_mask(const SelectSources<float>& sources, const SelectJob& job, int64_t i, int64_t HW, int64_t W) {
  return sources.masks[job.mask * HW + i] != 0 && (job.removed.empty() || !job.removed.holds(i / W, i % W));
}

__global__ void select_compose_kernel(float* out, SelectSources<float> sources, const SelectJob* jobs, bool complement, int64_t C,
                                      int64_t HW, int64_t W) {
  const int64_t i = flat_index(), j = blockIdx.y;
  if (i >= HW) return;
  const SelectJob job = jobs[j];
  const bool show_x = in_mask(sources, job, i, HW, W) != complement;
  for (int64_t c = 0; c < C; ++c) out[(j * C + c) * HW + i] = show_x ? sources.x[c * HW + i] : background_of(sources, job, c, i, C, HW);
}

__global__ void select_gain_kernel(float* gain, const float* gradient, SelectSources<float> sources, const SelectJob* jobs, float sign,
                                   bool inside, int64_t n, int64_t C, int64_t HW, int64_t W, bool accumulate) {
  const int64_t i = flat_index();
  if (i >= HW) return;
  float sum = accumulate ? gain[i] : 0.0f;
  for (int64_t j = 0; j < n; ++j) {
    const SelectJob job = jobs[j];
    if (inside && !in_mask(sources, job, i, HW, W)) continue;
    for (int64_t c = 0; c < C; ++c)
      sum += sign * (gradient[(j * C + c) * HW + i] * (sources.x[c * HW + i] - background_of(sources, job, c, i, C, HW)));
  }
  gain[i] = sum;
}

}  // namespace

cudaError_t select_compose(cudaStream_t stream, float* out, const SelectSources<float>& sources, const SelectJob* jobs, bool complement,
                           int64_t n, int64_t C, int64_t H, int64_t W) {
  return launch(stream, select_compose_kernel, grid_of(ceil_div(H * W, kThreads), n), kThreads, out, sources, jobs, complement, C, H * W,
                W);
}

cudaError_t select_gain(cudaStream_t stream, float* gain, const float* gradient, const SelectSources<float>& sources, const SelectJob* jobs,
                        float sign, bool inside, int64_t n, int64_t C, int64_t H, int64_t W, bool accumulate) {
  return launch(stream, select_gain_kernel, grid_of(ceil_div(H * W, kThreads)), kThreads, gain, gradient, sources, jobs, sign, inside, n, C,
                H * W, W, accumulate);
}

}  // namespace actmatch::kernels::cuda
