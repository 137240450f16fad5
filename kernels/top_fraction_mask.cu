// One block an image: the row is read three times for the selection and once or twice for the results.
#include "kernels/common/select.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kSelectThreads)
    top_fraction_mask_kernel(float* h, float* threshold, const float* s, const float* area, int HW) {
  const int64_t b = blockIdx.x;
  const float* row = s + b * HW;
  float* mask = h != nullptr ? h + b * HW : nullptr;
  const int k = static_cast<int>(top_count(static_cast<double>(area[b]), HW));
  BlockSelection selection{0xffffffffu, 0, 0};  // nothing inside
  if (k > 0) selection = block_select_top(row, HW, k);
  if (mask != nullptr) block_visit_top(row, HW, selection, [mask](int i, bool inside) { mask[i] = inside ? 1.0f : 0.0f; });
  if (threshold == nullptr) return;
  uint64_t below = 0;  // the largest key of those dropped
  for (int i = thread_index(); i < HW; i += kSelectThreads) {
    const uint32_t key = order_key(row[i]);
    if (key < selection.key && key > below) below = key;
  }
  below = block_max(below);
  if (threadIdx.x != 0) return;
  const float dropped = value_of_key<float>(static_cast<uint32_t>(below));
  if (k == 0) {
    threshold[b] = dropped;
  } else {
    const float kept = value_of_key<float>(selection.key);
    threshold[b] = (selection.equal > selection.ties || below == 0) ? kept : kept / 2 + dropped / 2;
  }
}

}  // namespace

cudaError_t top_fraction_mask(cudaStream_t stream, float* h, float* threshold, const float* s, const float* area, int64_t B, int64_t HW) {
  if (HW >= INT32_MAX - kSelectThreads) return cudaErrorInvalidValue;
  if (HW == 0) return cudaSuccess;
  return launch(stream, top_fraction_mask_kernel, grid_of(B), kSelectThreads, h, threshold, s, area, static_cast<int>(HW));
}

}  // namespace actmatch::kernels::cuda
