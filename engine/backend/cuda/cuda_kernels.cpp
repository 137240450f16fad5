#include "engine/backend/cuda/cuda_kernels.h"

#include <algorithm>

#include "engine/backend/cuda/check.h"
#include "kernels/cuda.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

void* GrowingScratch::get(size_t bytes, bool capturing) {
  if (bytes == 0) return nullptr;
  if (bytes > size_) {
    if (capturing)
      throw Error(ErrorCode::kInternal, "a step that is being recorded asks for " + std::to_string(bytes) +
                                            " bytes of scratch and there are " + std::to_string(size_) +
                                            "; run the step once before it is recorded");
    const size_t wanted = std::max(bytes, 2 * size_);
    blocks_.emplace_back(wanted, count_);
    size_ = wanted;
  }
  return blocks_.back().data();
}

void CudaKernels::fill(float* x, float value, int64_t count) { ACTMATCH_CUDA(launch::fill(stream_, x, value, count)); }

void CudaKernels::advance(uint32_t* counter, uint32_t amount) { ACTMATCH_CUDA(launch::advance(stream_, counter, amount)); }

void CudaKernels::mask_activate(float* m, const float* s, const float* threshold, const float* inverse_temperature, int64_t B, int64_t HW) {
  ACTMATCH_CUDA(launch::mask_activate(stream_, m, s, threshold, inverse_temperature, B, HW));
}

void CudaKernels::fill_parts(std::span<const kernels::FillPart> parts, float value) {
  ACTMATCH_CUDA(launch::fill_parts(stream_, parts, value));
}

void CudaKernels::mask_activate_backward(float* ds, const float* dm, const float* m, const float* inverse_temperature, int64_t B,
                                         int64_t HW, bool accumulate) {
  ACTMATCH_CUDA(launch::mask_activate_backward(stream_, ds, dm, m, inverse_temperature, B, HW, accumulate));
}

void CudaKernels::hard_mask(float* h, const float* s, const float* threshold, int64_t B, int64_t HW) {
  ACTMATCH_CUDA(launch::hard_mask(stream_, h, s, threshold, B, HW));
}

void CudaKernels::top_fraction_mask(float* h, float* threshold, const float* s, const float* area, int64_t B, int64_t HW) {
  ACTMATCH_CUDA(launch::top_fraction_mask(stream_, h, threshold, s, area, B, HW));
}

void CudaKernels::compose(float* out, const float* x, std::span<const Pass> passes, kernels::ChannelOrder order, int64_t B, int64_t C,
                          int64_t HW) {
  ACTMATCH_CUDA(launch::compose(stream_, out, x, passes.data(), order, B, static_cast<int64_t>(passes.size()), C, HW));
}

void CudaKernels::compose_backward(float* dmask, const float* dout, const float* x, std::span<const Pass> passes,
                                   kernels::ChannelOrder order, int64_t B, int64_t C, int64_t HW, bool accumulate) {
  ACTMATCH_CUDA(
      launch::compose_backward(stream_, dmask, dout, x, passes.data(), order, B, static_cast<int64_t>(passes.size()), C, HW, accumulate));
}

void CudaKernels::random_background(float* out, const kernels::BackgroundSpec& spec, kernels::RandomStream stream,
                                    const kernels::BackgroundCursor* cursor, int64_t count) {
  ACTMATCH_CUDA(launch::random_background(stream_, out, spec, stream, cursor, count));
}

void CudaKernels::tap_prepare(float* prepared, float* constant, const float* reference, kernels::TapDistance kind,
                              kernels::ChannelOrder order, int64_t B, int64_t C, int64_t HW) {
  void* scratch = scratch_.get(launch::tap_prepare_scratch_bytes(kind, B, C, HW), capturing_);
  ACTMATCH_CUDA(launch::tap_prepare(stream_, prepared, constant, reference, kind, order, B, C, HW, scratch));
}

void CudaKernels::tap_distance(float* value, float* gradient, const float* current, const float* prepared, const float* constant,
                               const float* weight, kernels::TapDistance kind, kernels::ChannelOrder order, int64_t B, int64_t P, int64_t C,
                               int64_t HW, bool accumulate) {
  void* scratch = scratch_.get(launch::tap_distance_scratch_bytes(kind, B, P, C, HW), capturing_);
  ACTMATCH_CUDA(
      launch::tap_distance(stream_, value, gradient, current, prepared, constant, weight, kind, order, B, P, C, HW, accumulate, scratch));
}

void CudaKernels::kl_logits(float* value, float* gradient, const float* z, const float* target, const float* weight, float temperature,
                            int64_t B, int64_t P, int64_t K, bool accumulate) {
  ACTMATCH_CUDA(launch::kl_logits(stream_, value, gradient, z, target, weight, temperature, B, P, K, accumulate));
}

void CudaKernels::cross_entropy(float* value, float* gradient, const float* z, const int32_t* label, const float* weight, int64_t B,
                                int64_t P, int64_t K, bool accumulate) {
  ACTMATCH_CUDA(launch::cross_entropy(stream_, value, gradient, z, label, weight, B, P, K, accumulate));
}

void CudaKernels::margin_hinge(float* value, float* gradient, const float* z, const int32_t* label, const float* weight, float margin,
                               int64_t B, int64_t P, int64_t K, bool accumulate) {
  ACTMATCH_CUDA(launch::margin_hinge(stream_, value, gradient, z, label, weight, margin, B, P, K, accumulate));
}

void CudaKernels::necessity_hinge(float* value, float* gradient, const float* z, const float* target, const int32_t* label,
                                  const float* weight, float margin, int64_t B, int64_t P, int64_t K, bool accumulate) {
  ACTMATCH_CUDA(launch::necessity_hinge(stream_, value, gradient, z, target, label, weight, margin, B, P, K, accumulate));
}

void CudaKernels::necessity_log(float* value, float* gradient, const float* z, const int32_t* label, const float* weight, int64_t B,
                                int64_t P, int64_t K, bool accumulate) {
  ACTMATCH_CUDA(launch::necessity_log(stream_, value, gradient, z, label, weight, B, P, K, accumulate));
}

void CudaKernels::class_scores(int32_t* top, float* p_label, const float* z, const int32_t* label, int64_t B, int64_t P, int64_t K) {
  ACTMATCH_CUDA(launch::class_scores(stream_, top, p_label, z, label, B, P, K));
}

void CudaKernels::mask_regulariser(float* value, float* dm, const float* m, const float* weight, int neighbours, int64_t B, int64_t H,
                                   int64_t W, bool accumulate) {
  void* scratch = scratch_.get(launch::mask_regulariser_scratch_bytes(B, H, W), capturing_);
  ACTMATCH_CUDA(launch::mask_regulariser(stream_, value, dm, m, weight, neighbours, B, H, W, accumulate, scratch));
}

void CudaKernels::sorted_area(float* value, float* dm, const float* m, const float* area, const float* weight, int64_t B, int64_t HW,
                              bool accumulate) {
  ACTMATCH_CUDA(launch::sorted_area(stream_, value, dm, m, area, weight, B, HW, accumulate));
}

void CudaKernels::adam(std::span<const kernels::AdamTensor> tensors, const kernels::AdamOptions& options, const uint32_t* step,
                       const double* learning_rate, float gradient_scale) {
  ACTMATCH_CUDA(launch::adam(stream_, tensors, options, step, learning_rate, gradient_scale));
}

void CudaKernels::gaussian_smooth(float* map, float* scratch, const kernels::SmoothTable<float>& table, const uint32_t* step, int64_t B,
                                  int64_t H, int64_t W) {
  ACTMATCH_CUDA(launch::gaussian_smooth(stream_, map, scratch, table, step, B, H, W));
}

void CudaKernels::area_control(kernels::AreaState* state, float* area, float* best, float* outcome, const float* hard, const int32_t* top,
                               const float* p_label, const int32_t* label, const double* fall, const uint32_t* step,
                               const kernels::AreaControl& control, int64_t B, int64_t HW) {
  ACTMATCH_CUDA(launch::area_control(stream_, state, area, best, outcome, hard, top, p_label, label, fall, step, control, B, HW));
}

void CudaKernels::record_step(float* trace, const kernels::StepTerms<float>& terms, const uint32_t* step, int64_t rows, int64_t B) {
  ACTMATCH_CUDA(launch::record_step(stream_, trace, terms, step, rows, B));
}

void CudaKernels::select_compose(float* out, const kernels::SelectSources<float>& sources, const kernels::SelectJob* jobs, bool complement,
                                 int64_t n, int64_t C, int64_t H, int64_t W) {
  ACTMATCH_CUDA(launch::select_compose(stream_, out, sources, jobs, complement, n, C, H, W));
}

void CudaKernels::select_gain(float* gain, const float* gradient, const kernels::SelectSources<float>& sources,
                              const kernels::SelectJob* jobs, float sign, bool inside, int64_t n, int64_t C, int64_t H, int64_t W,
                              bool accumulate) {
  ACTMATCH_CUDA(launch::select_gain(stream_, gain, gradient, sources, jobs, sign, inside, n, C, H, W, accumulate));
}

void CudaKernels::clamp_below(float* x, float least, int64_t count) { ACTMATCH_CUDA(launch::clamp_below(stream_, x, least, count)); }

void CudaKernels::variable_smooth(float* s, float* scratch, const float* w, const float* q, int64_t radius, int64_t B, int64_t H,
                                  int64_t W) {
  ACTMATCH_CUDA(launch::variable_smooth(stream_, s, scratch, w, q, radius, B, H, W));
}

void CudaKernels::variable_smooth_backward(float* dw, float* dq, float* scratch, const float* ds, const float* w, const float* q,
                                           float log_weight, int64_t radius, int64_t B, int64_t H, int64_t W) {
  ACTMATCH_CUDA(launch::variable_smooth_backward(stream_, dw, dq, scratch, ds, w, q, log_weight, radius, B, H, W));
}

void CudaKernels::smooth_max(float* M, float* Z, const float* a, const float* table, const kernels::SmoothMaxShape& shape, int64_t B) {
  ACTMATCH_CUDA(launch::smooth_max(stream_, M, Z, a, table, shape, B));
}

void CudaKernels::smooth_max_backward(float* da, const float* dM, const float* M, const float* Z, const float* a, const float* table,
                                      const kernels::SmoothMaxShape& shape, int64_t B) {
  ACTMATCH_CUDA(launch::smooth_max_backward(stream_, da, dM, M, Z, a, table, shape, B));
}

void CudaKernels::pyramid_compose(float* out, const float* m, const float* levels, int64_t L, int64_t B, int64_t C, int64_t HW) {
  ACTMATCH_CUDA(launch::pyramid_compose(stream_, out, m, levels, L, B, C, HW));
}

void CudaKernels::pyramid_compose_backward(float* dm, const float* dout, const float* m, const float* levels, int64_t L, int64_t B,
                                           int64_t C, int64_t HW, bool accumulate) {
  ACTMATCH_CUDA(launch::pyramid_compose_backward(stream_, dm, dout, m, levels, L, B, C, HW, accumulate));
}

}  // namespace actmatch::cuda
