// One block an image, as for the mask by area.
#include "kernels/common/select.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kSelectThreads)
    sorted_area_kernel(float* value, float* dm, const float* m, const float* area, const float* weight, int HW, bool accumulate) {
  const int64_t b = blockIdx.x;
  const float* row = m + b * HW;
  float* g = dm != nullptr ? dm + b * HW : nullptr;
  const int k = static_cast<int>(top_count(static_cast<double>(area[b]), HW));
  BlockSelection selection{0xffffffffu, 0, 0};
  if (k > 0) selection = block_select_top(row, HW, k);
  const float scale = 2.0f * weight[b] / static_cast<float>(HW);
  double sum = 0;
  block_visit_top(row, HW, selection, [&](int i, bool inside) {
    const float d = row[i] - (inside ? 1.0f : 0.0f);
    sum += static_cast<double>(d) * static_cast<double>(d);
    if (g != nullptr) g[i] = accumulate ? g[i] + scale * d : scale * d;
  });
  sum = block_sum(sum);
  if (threadIdx.x == 0) value[b] = static_cast<float>(sum / HW);
}

}  // namespace

cudaError_t sorted_area(cudaStream_t stream, float* value, float* dm, const float* m, const float* area, const float* weight, int64_t B,
                        int64_t HW, bool accumulate) {
  if (HW >= INT32_MAX - kSelectThreads) return cudaErrorInvalidValue;
  if (HW == 0) return cudaSuccess;
  return launch(stream, sorted_area_kernel, grid_of(B), kSelectThreads, value, dm, m, area, weight, static_cast<int>(HW), accumulate);
}

}  // namespace actmatch::kernels::cuda
