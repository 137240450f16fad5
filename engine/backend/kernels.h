// The kernels of the explanation loop as a device offers them: what kernels/*.h define, in fp32, on device memory. One method a kernel;
// formulas and shapes are documented there. All that differs from step to step or from image to image is device memory too (labels,
// weights, areas, the step's number, which background comes next), so that a step can be recorded once and replayed; what is passed by
// value, the pointers inside included, is the same in every replay.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/adam.h"
#include "kernels/area_control.h"
#include "kernels/fill.h"
#include "kernels/gaussian_smooth.h"
#include "kernels/logit_loss.h"
#include "kernels/mask.h"
#include "kernels/pyramid.h"
#include "kernels/random_background.h"
#include "kernels/regulariser.h"
#include "kernels/select_compose.h"
#include "kernels/smooth_max.h"
#include "kernels/step_trace.h"
#include "kernels/tap_distance.h"
#include "kernels/variable_smooth.h"

namespace actmatch {

class Kernels {
 public:
  using Pass = kernels::ComposePass<float>;
  virtual ~Kernels() = default;

  virtual void fill(float* x, float value, int64_t count) = 0;
  virtual void fill_parts(std::span<const kernels::FillPart> parts, float value) = 0;
  virtual void clamp_below(float* x, float least, int64_t count) = 0;  // x = max(x, least)
  virtual void advance(uint32_t* counter, uint32_t amount) = 0;        // *counter += amount
  virtual void mask_activate(float* m, const float* s, const float* threshold, const float* inverse_temperature, int64_t B, int64_t HW) = 0;
  virtual void mask_activate_backward(float* ds, const float* dm, const float* m, const float* inverse_temperature, int64_t B, int64_t HW,
                                      bool accumulate) = 0;
  virtual void hard_mask(float* h, const float* s, const float* threshold, int64_t B, int64_t HW) = 0;
  virtual void top_fraction_mask(float* h, float* threshold, const float* s, const float* area, int64_t B, int64_t HW) = 0;
  virtual void compose(float* out, const float* x, std::span<const Pass> passes, kernels::ChannelOrder order, int64_t B, int64_t C,
                       int64_t HW) = 0;
  virtual void compose_backward(float* dmask, const float* dout, const float* x, std::span<const Pass> passes, kernels::ChannelOrder order,
                                int64_t B, int64_t C, int64_t HW, bool accumulate) = 0;
  virtual void random_background(float* out, const kernels::BackgroundSpec& spec, kernels::RandomStream stream,
                                 const kernels::BackgroundCursor* cursor, int64_t count) = 0;

  virtual void tap_prepare(float* prepared, float* constant, const float* reference, kernels::TapDistance kind, kernels::ChannelOrder order,
                           int64_t B, int64_t C, int64_t HW) = 0;
  virtual void tap_distance(float* value, float* gradient, const float* current, const float* prepared, const float* constant,
                            const float* weight, kernels::TapDistance kind, kernels::ChannelOrder order, int64_t B, int64_t P, int64_t C,
                            int64_t HW, bool accumulate) = 0;

  virtual void kl_logits(float* value, float* gradient, const float* z, const float* target, const float* weight, float temperature,
                         int64_t B, int64_t P, int64_t K, bool accumulate) = 0;
  virtual void cross_entropy(float* value, float* gradient, const float* z, const int32_t* label, const float* weight, int64_t B, int64_t P,
                             int64_t K, bool accumulate) = 0;
  virtual void margin_hinge(float* value, float* gradient, const float* z, const int32_t* label, const float* weight, float margin,
                            int64_t B, int64_t P, int64_t K, bool accumulate) = 0;
  virtual void necessity_hinge(float* value, float* gradient, const float* z, const float* target, const int32_t* label,
                               const float* weight, float margin, int64_t B, int64_t P, int64_t K, bool accumulate) = 0;
  virtual void necessity_log(float* value, float* gradient, const float* z, const int32_t* label, const float* weight, int64_t B, int64_t P,
                             int64_t K, bool accumulate) = 0;
  virtual void class_scores(int32_t* top, float* p_label, const float* z, const int32_t* label, int64_t B, int64_t P, int64_t K) = 0;

  virtual void mask_regulariser(float* value, float* dm, const float* m, const float* weight, int neighbours, int64_t B, int64_t H,
                                int64_t W, bool accumulate) = 0;
  virtual void sorted_area(float* value, float* dm, const float* m, const float* area, const float* weight, int64_t B, int64_t HW,
                           bool accumulate) = 0;
  // options.learning_rate is not read: it is the one number at `learning_rate`.
  virtual void adam(std::span<const kernels::AdamTensor> tensors, const kernels::AdamOptions& options, const uint32_t* step,
                    const double* learning_rate, float gradient_scale) = 0;

  virtual void gaussian_smooth(float* map, float* scratch, const kernels::SmoothTable<float>& table, const uint32_t* step, int64_t B,
                               int64_t H, int64_t W) = 0;
  virtual void area_control(kernels::AreaState* state, float* area, float* best, float* outcome, const float* hard, const int32_t* top,
                            const float* p_label, const int32_t* label, const double* fall, const uint32_t* step,
                            const kernels::AreaControl& control, int64_t B, int64_t HW) = 0;
  virtual void record_step(float* trace, const kernels::StepTerms<float>& terms, const uint32_t* step, int64_t rows, int64_t B) = 0;

  virtual void select_compose(float* out, const kernels::SelectSources<float>& sources, const kernels::SelectJob* jobs, bool complement,
                              int64_t n, int64_t C, int64_t H, int64_t W) = 0;
  virtual void select_gain(float* gain, const float* gradient, const kernels::SelectSources<float>& sources, const kernels::SelectJob* jobs,
                           float sign, bool inside, int64_t n, int64_t C, int64_t H, int64_t W, bool accumulate) = 0;

  virtual void variable_smooth(float* s, float* scratch, const float* w, const float* q, int64_t radius, int64_t B, int64_t H,
                               int64_t W) = 0;
  virtual void variable_smooth_backward(float* dw, float* dq, float* scratch, const float* ds, const float* w, const float* q,
                                        float log_weight, int64_t radius, int64_t B, int64_t H, int64_t W) = 0;
  virtual void smooth_max(float* M, float* Z, const float* a, const float* table, const kernels::SmoothMaxShape& shape, int64_t B) = 0;
  virtual void smooth_max_backward(float* da, const float* dM, const float* M, const float* Z, const float* a, const float* table,
                                   const kernels::SmoothMaxShape& shape, int64_t B) = 0;
  virtual void pyramid_compose(float* out, const float* m, const float* levels, int64_t L, int64_t B, int64_t C, int64_t HW) = 0;
  virtual void pyramid_compose_backward(float* dm, const float* dout, const float* m, const float* levels, int64_t L, int64_t B, int64_t C,
                                        int64_t HW, bool accumulate) = 0;
};

}  // namespace actmatch
