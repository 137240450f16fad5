// One block an image: it counts the mask's pixels, one thread decides, and all copy the mask where it is the best.
#include "kernels/common/reduce.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

// The decision about one image; true when its mask is the best so far.
__device__ bool decide(AreaState* state, float* area, float* outcome, int64_t pixels, const int32_t* top, const float* p_label,
                       const int32_t* label, const double* fall, int64_t step, const AreaControl& control, int64_t B, int64_t HW,
                       int64_t b) {
  AreaState s = state[b];
  bool kept = top[b] == label[b] && static_cast<double>(p_label[b]) >= s.least_p;
  int64_t held = 0;
  for (int64_t r = 1; r <= control.robust; ++r) held += top[r * B + b] == label[b] ? 1 : 0;
  kept = kept && held >= control.needed;
  const bool best = kept && control.may_be_best && pixels > 0 && (s.best_pixels == 0 || pixels < s.best_pixels);
  if (best) s.best_pixels = pixels;
  outcome[kOutcomeColumns * b] = static_cast<float>(pixels);
  outcome[kOutcomeColumns * b + 1] = kept ? 1.0f : 0.0f;
  if (fall != nullptr) {
    if (step < control.fall_steps) {
      s.area = fmin(fall[step], s.ceiling);
    } else {
      const double best_area = s.best_pixels == 0 ? 1.0 : static_cast<double>(s.best_pixels) / static_cast<double>(HW);
      s.area = fmin(fmin(s.area * (kept ? control.shrink : control.grow), 1.6 * best_area), s.ceiling);
    }
    area[b] = static_cast<float>(s.area);
  }
  state[b] = s;
  return best;
}

__global__ void __launch_bounds__(kThreads)
    area_control_kernel(AreaState* state, float* area, float* best, float* outcome, const float* hard, const int32_t* top,
                        const float* p_label, const int32_t* label, const double* fall, const uint32_t* step, AreaControl control,
                        int64_t B, int64_t HW) {
  __shared__ int is_best;
  const int64_t b = blockIdx.x;
  const float* mask = hard + b * HW;
  int64_t pixels = 0;
  for (int64_t i = threadIdx.x; i < HW; i += kThreads) pixels += mask[i] == 1.0f ? 1 : 0;
  pixels = block_sum(pixels);
  if (threadIdx.x == 0)
    is_best = decide(state, area, outcome, pixels, top, p_label, label, fall, static_cast<int64_t>(*step), control, B, HW, b) ? 1 : 0;
  __syncthreads();
  if (is_best == 0) return;
  for (int64_t i = threadIdx.x; i < HW; i += kThreads) best[b * HW + i] = mask[i];
}

}  // namespace

cudaError_t area_control(cudaStream_t stream, AreaState* state, float* area, float* best, float* outcome, const float* hard,
                         const int32_t* top, const float* p_label, const int32_t* label, const double* fall, const uint32_t* step,
                         const AreaControl& control, int64_t B, int64_t HW) {
  return launch(stream, area_control_kernel, grid_of(B), kThreads, state, area, best, outcome, hard, top, p_label, label, fall, step,
                control, B, HW);
}

}  // namespace actmatch::kernels::cuda
