// The kernels of the explanation loop on one CUDA stream: the launchers of kernels/cuda.h, with scratch memory for those that need it.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <vector>

#include "engine/backend/cuda/cuda_memory.h"
#include "engine/backend/kernels.h"

namespace actmatch::cuda {

// Scratch for one stream: it grows when more is asked for than before. What was outgrown stays until the end, because a recorded step may
// still name it; sizes double at least, so that this is never more than the block in use.
class GrowingScratch {
 public:
  explicit GrowingScratch(std::shared_ptr<MemoryCount> count = nullptr) : count_(std::move(count)) {}
  // At least `bytes`, aligned for any type; null for 0. Throws kInternal where it would have to grow while `capturing`, kOutOfMemory where
  // there is no memory.
  void* get(size_t bytes, bool capturing);
  size_t bytes() const { return size_; }

 private:
  std::shared_ptr<MemoryCount> count_;
  std::vector<DeviceMemory> blocks_;
  size_t size_ = 0;
};

class CudaKernels : public Kernels {
 public:
  explicit CudaKernels(cudaStream_t stream, std::shared_ptr<MemoryCount> count = nullptr) : stream_(stream), scratch_(std::move(count)) {}

  // Between the begin and the end of a capture nothing can be allocated. The same work must have run before it, uncaptured.
  void set_capturing(bool capturing) { capturing_ = capturing; }
  size_t scratch_bytes() const { return scratch_.bytes(); }

  void clamp_below(float* x, float least, int64_t count) override;
  void variable_smooth(float* s, float* scratch, const float* w, const float* q, int64_t radius, int64_t B, int64_t H, int64_t W) override;
  void variable_smooth_backward(float* dw, float* dq, float* scratch, const float* ds, const float* w, const float* q, float log_weight,
                                int64_t radius, int64_t B, int64_t H, int64_t W) override;
  void smooth_max(float* M, float* Z, const float* a, const float* table, const kernels::SmoothMaxShape& shape, int64_t B) override;
  void smooth_max_backward(float* da, const float* dM, const float* M, const float* Z, const float* a, const float* table,
                           const kernels::SmoothMaxShape& shape, int64_t B) override;
  void pyramid_compose(float* out, const float* m, const float* levels, int64_t L, int64_t B, int64_t C, int64_t HW) override;
  void pyramid_compose_backward(float* dm, const float* dout, const float* m, const float* levels, int64_t L, int64_t B, int64_t C,
                                int64_t HW, bool accumulate) override;
  void fill(float* x, float value, int64_t count) override;
  void fill_parts(std::span<const kernels::FillPart> parts, float value) override;
  void advance(uint32_t* counter, uint32_t amount) override;
  void mask_activate(float* m, const float* s, const float* threshold, const float* inverse_temperature, int64_t B, int64_t HW) override;
  void mask_activate_backward(float* ds, const float* dm, const float* m, const float* inverse_temperature, int64_t B, int64_t HW,
                              bool accumulate) override;
  void hard_mask(float* h, const float* s, const float* threshold, int64_t B, int64_t HW) override;
  void top_fraction_mask(float* h, float* threshold, const float* s, const float* area, int64_t B, int64_t HW) override;
  void compose(float* out, const float* x, std::span<const Pass> passes, kernels::ChannelOrder order, int64_t B, int64_t C,
               int64_t HW) override;
  void compose_backward(float* dmask, const float* dout, const float* x, std::span<const Pass> passes, kernels::ChannelOrder order,
                        int64_t B, int64_t C, int64_t HW, bool accumulate) override;
  void random_background(float* out, const kernels::BackgroundSpec& spec, kernels::RandomStream stream,
                         const kernels::BackgroundCursor* cursor, int64_t count) override;
  void tap_prepare(float* prepared, float* constant, const float* reference, kernels::TapDistance kind, kernels::ChannelOrder order,
                   int64_t B, int64_t C, int64_t HW) override;
  void tap_distance(float* value, float* gradient, const float* current, const float* prepared, const float* constant, const float* weight,
                    kernels::TapDistance kind, kernels::ChannelOrder order, int64_t B, int64_t P, int64_t C, int64_t HW,
                    bool accumulate) override;
  void kl_logits(float* value, float* gradient, const float* z, const float* target, const float* weight, float temperature, int64_t B,
                 int64_t P, int64_t K, bool accumulate) override;
  void cross_entropy(float* value, float* gradient, const float* z, const int32_t* label, const float* weight, int64_t B, int64_t P,
                     int64_t K, bool accumulate) override;
  void margin_hinge(float* value, float* gradient, const float* z, const int32_t* label, const float* weight, float margin, int64_t B,
                    int64_t P, int64_t K, bool accumulate) override;
  void necessity_hinge(float* value, float* gradient, const float* z, const float* target, const int32_t* label, const float* weight,
                       float margin, int64_t B, int64_t P, int64_t K, bool accumulate) override;
  void necessity_log(float* value, float* gradient, const float* z, const int32_t* label, const float* weight, int64_t B, int64_t P,
                     int64_t K, bool accumulate) override;
  void class_scores(int32_t* top, float* p_label, const float* z, const int32_t* label, int64_t B, int64_t P, int64_t K) override;
  void mask_regulariser(float* value, float* dm, const float* m, const float* weight, int neighbours, int64_t B, int64_t H, int64_t W,
                        bool accumulate) override;
  void sorted_area(float* value, float* dm, const float* m, const float* area, const float* weight, int64_t B, int64_t HW,
                   bool accumulate) override;
  void adam(std::span<const kernels::AdamTensor> tensors, const kernels::AdamOptions& options, const uint32_t* step,
            const double* learning_rate, float gradient_scale) override;
  void gaussian_smooth(float* map, float* scratch, const kernels::SmoothTable<float>& table, const uint32_t* step, int64_t B, int64_t H,
                       int64_t W) override;
  void area_control(kernels::AreaState* state, float* area, float* best, float* outcome, const float* hard, const int32_t* top,
                    const float* p_label, const int32_t* label, const double* fall, const uint32_t* step,
                    const kernels::AreaControl& control, int64_t B, int64_t HW) override;
  void record_step(float* trace, const kernels::StepTerms<float>& terms, const uint32_t* step, int64_t rows, int64_t B) override;
  void select_compose(float* out, const kernels::SelectSources<float>& sources, const kernels::SelectJob* jobs, bool complement, int64_t n,
                      int64_t C, int64_t H, int64_t W) override;
  void select_gain(float* gain, const float* gradient, const kernels::SelectSources<float>& sources, const kernels::SelectJob* jobs,
                   float sign, bool inside, int64_t n, int64_t C, int64_t H, int64_t W, bool accumulate) override;

 private:
  cudaStream_t stream_;
  bool capturing_ = false;
  GrowingScratch scratch_;
};

}  // namespace actmatch::cuda
