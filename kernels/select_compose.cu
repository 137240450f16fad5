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

__global__ void select_compose_kernel(float* out, SelectSources<float> sources, const SelectJob* jobs, bool complement, int64_t C,
                                      int64_t HW) {
  const int64_t i = flat_index(), j = blockIdx.y;
  if (i >= HW) return;
  const SelectJob job = jobs[j];
  const bool show_x = (sources.masks[job.mask * HW + i] != 0) != complement;
  for (int64_t c = 0; c < C; ++c) out[(j * C + c) * HW + i] = show_x ? sources.x[c * HW + i] : background_of(sources, job, c, i, C, HW);
}

__global__ void select_gain_kernel(float* gain, const float* gradient, SelectSources<float> sources, const SelectJob* jobs, float sign,
                                   bool inside, int64_t n, int64_t C, int64_t HW, bool accumulate) {
  const int64_t i = flat_index();
  if (i >= HW) return;
  float sum = accumulate ? gain[i] : 0.0f;
  for (int64_t j = 0; j < n; ++j) {
    const SelectJob job = jobs[j];
    if (inside && sources.masks[job.mask * HW + i] == 0) continue;
    for (int64_t c = 0; c < C; ++c)
      sum += sign * (gradient[(j * C + c) * HW + i] * (sources.x[c * HW + i] - background_of(sources, job, c, i, C, HW)));
  }
  gain[i] = sum;
}

}  // namespace

cudaError_t select_compose(cudaStream_t stream, float* out, const SelectSources<float>& sources, const SelectJob* jobs, bool complement,
                           int64_t n, int64_t C, int64_t HW) {
  return launch(stream, select_compose_kernel, grid_of(ceil_div(HW, kThreads), n), kThreads, out, sources, jobs, complement, C, HW);
}

cudaError_t select_gain(cudaStream_t stream, float* gain, const float* gradient, const SelectSources<float>& sources, const SelectJob* jobs,
                        float sign, bool inside, int64_t n, int64_t C, int64_t HW, bool accumulate) {
  return launch(stream, select_gain_kernel, grid_of(ceil_div(HW, kThreads)), kThreads, gain, gradient, sources, jobs, sign, inside, n, C,
                HW, accumulate);
}

}  // namespace actmatch::kernels::cuda
