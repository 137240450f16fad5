// The CPU offers the reference kernels as they are.
#include <algorithm>

#include "engine/backend/cpu/cpu_kernels.h"

namespace actmatch::cpu {

namespace {

class CpuKernels : public Kernels {
 public:
  void fill(float* x, float value, int64_t count) override { std::fill_n(x, count, value); }
  void fill_parts(std::span<const kernels::FillPart> parts, float value) override {
    for (const kernels::FillPart& part : parts) std::fill_n(part.data, part.count, value);
  }
  void advance(uint32_t* counter, uint32_t amount) override { *counter += amount; }
  void mask_activate(float* m, const float* s, const float* threshold, const float* inverse_temperature, int64_t B, int64_t HW) override {
    kernels::mask_activate_ref(m, s, threshold, inverse_temperature, B, HW);
  }
  void mask_activate_backward(float* ds, const float* dm, const float* m, const float* inverse_temperature, int64_t B, int64_t HW,
                              bool accumulate) override {
    kernels::mask_activate_backward_ref(ds, dm, m, inverse_temperature, B, HW, accumulate);
  }
  void hard_mask(float* h, const float* s, const float* threshold, int64_t B, int64_t HW) override {
    kernels::hard_mask_ref(h, s, threshold, B, HW);
  }
  void top_fraction_mask(float* h, float* threshold, const float* s, const float* area, int64_t B, int64_t HW) override {
    kernels::top_fraction_mask_ref(h, threshold, s, area, B, HW);
  }
  void compose(float* out, const float* x, std::span<const Pass> passes, kernels::ChannelOrder order, int64_t B, int64_t C,
               int64_t HW) override {
    kernels::compose_ref(out, x, passes.data(), order, B, static_cast<int64_t>(passes.size()), C, HW);
  }
  void compose_backward(float* dmask, const float* dout, const float* x, std::span<const Pass> passes, kernels::ChannelOrder order,
                        int64_t B, int64_t C, int64_t HW, bool accumulate) override {
    kernels::compose_backward_ref(dmask, dout, x, passes.data(), order, B, static_cast<int64_t>(passes.size()), C, HW, accumulate);
  }
  void random_background(float* out, const kernels::BackgroundSpec& spec, kernels::RandomStream stream,
                         const kernels::BackgroundCursor* cursor, int64_t count) override {
    kernels::random_background_ref(out, spec, stream, cursor->image, cursor->first, count);
  }
  void tap_prepare(float* prepared, float* constant, const float* reference, kernels::TapDistance kind, kernels::ChannelOrder order,
                   int64_t B, int64_t C, int64_t HW) override {
    kernels::tap_prepare_ref(prepared, constant, reference, kind, order, B, C, HW);
  }
  void tap_distance(float* value, float* gradient, const float* current, const float* prepared, const float* constant, const float* weight,
                    kernels::TapDistance kind, kernels::ChannelOrder order, int64_t B, int64_t P, int64_t C, int64_t HW,
                    bool accumulate) override {
    kernels::tap_distance_ref(value, gradient, current, prepared, constant, weight, kind, order, B, P, C, HW, accumulate);
  }
  void kl_logits(float* value, float* gradient, const float* z, const float* target, const float* weight, float temperature, int64_t B,
                 int64_t P, int64_t K, bool accumulate) override {
    kernels::kl_logits_ref(value, gradient, z, target, weight, temperature, B, P, K, accumulate);
  }
  void cross_entropy(float* value, float* gradient, const float* z, const int32_t* label, const float* weight, int64_t B, int64_t P,
                     int64_t K, bool accumulate) override {
    kernels::cross_entropy_ref(value, gradient, z, label, weight, B, P, K, accumulate);
  }
  void margin_hinge(float* value, float* gradient, const float* z, const int32_t* label, const float* weight, float margin, int64_t B,
                    int64_t P, int64_t K, bool accumulate) override {
    kernels::margin_hinge_ref(value, gradient, z, label, weight, margin, B, P, K, accumulate);
  }
  void necessity_hinge(float* value, float* gradient, const float* z, const float* target, const int32_t* label, const float* weight,
                       float margin, int64_t B, int64_t P, int64_t K, bool accumulate) override {
    kernels::necessity_hinge_ref(value, gradient, z, target, label, weight, margin, B, P, K, accumulate);
  }
  void necessity_log(float* value, float* gradient, const float* z, const int32_t* label, const float* weight, int64_t B, int64_t P,
                     int64_t K, bool accumulate) override {
    kernels::necessity_log_ref(value, gradient, z, label, weight, B, P, K, accumulate);
  }
  void class_scores(int32_t* top, float* p_label, const float* z, const int32_t* label, int64_t B, int64_t P, int64_t K) override {
    kernels::class_scores_ref(top, p_label, z, label, B, P, K);
  }
  void mask_regulariser(float* value, float* dm, const float* m, const float* weight, int neighbours, int64_t B, int64_t H, int64_t W,
                        bool accumulate) override {
    kernels::mask_regulariser_ref(value, dm, m, weight, neighbours, B, H, W, accumulate);
  }
  void sorted_area(float* value, float* dm, const float* m, const float* area, const float* weight, int64_t B, int64_t HW,
                   bool accumulate) override {
    kernels::sorted_area_ref(value, dm, m, area, weight, B, HW, accumulate);
  }
  void adam(std::span<const kernels::AdamTensor> tensors, const kernels::AdamOptions& options, const uint32_t* step,
            const double* learning_rate, float gradient_scale) override {
    kernels::AdamOptions with_rate = options;
    with_rate.learning_rate = *learning_rate;
    for (const kernels::AdamTensor& t : tensors)
      kernels::adam_ref(t.parameter, t.first, t.second, t.gradient, t.count, with_rate, *step, gradient_scale);
  }
  void gaussian_smooth(float* map, float* scratch, const kernels::SmoothTable<float>& table, const uint32_t* step, int64_t B, int64_t H,
                       int64_t W) override {
    kernels::gaussian_smooth_ref(map, scratch, table, step, B, H, W);
  }
  void area_control(kernels::AreaState* state, float* area, float* best, float* outcome, const float* hard, const int32_t* top,
                    const float* p_label, const int32_t* label, const double* fall, const uint32_t* step,
                    const kernels::AreaControl& control, int64_t B, int64_t HW) override {
    kernels::area_control_ref(state, area, best, outcome, hard, top, p_label, label, fall, step, control, B, HW);
  }
  void record_step(float* trace, const kernels::StepTerms<float>& terms, const uint32_t* step, int64_t rows, int64_t B) override {
    kernels::record_step_ref(trace, terms, step, rows, B);
  }
  void select_compose(float* out, const kernels::SelectSources<float>& sources, const kernels::SelectJob* jobs, bool complement, int64_t n,
                      int64_t C, int64_t H, int64_t W) override {
    kernels::select_compose_ref(out, sources, jobs, complement, n, C, H, W);
  }
  void select_gain(float* gain, const float* gradient, const kernels::SelectSources<float>& sources, const kernels::SelectJob* jobs,
                   float sign, bool inside, int64_t n, int64_t C, int64_t H, int64_t W, bool accumulate) override {
    kernels::select_gain_ref(gain, gradient, sources, jobs, sign, inside, n, C, H, W, accumulate);
  }
  void clamp_below(float* x, float least, int64_t count) override {
    for (int64_t i = 0; i < count; ++i)
      if (x[i] < least) x[i] = least;
  }
  void variable_smooth(float* s, float* scratch, const float* w, const float* q, int64_t radius, int64_t B, int64_t H, int64_t W) override {
    kernels::variable_smooth_ref(s, scratch, w, q, radius, B, H, W);
  }
  void variable_smooth_backward(float* dw, float* dq, float* scratch, const float* ds, const float* w, const float* q, float log_weight,
                                int64_t radius, int64_t B, int64_t H, int64_t W) override {
    kernels::variable_smooth_backward_ref(dw, dq, scratch, ds, w, q, log_weight, radius, B, H, W);
  }
  void smooth_max(float* M, float* Z, const float* a, const float* table, const kernels::SmoothMaxShape& shape, int64_t B) override {
    kernels::smooth_max_ref(M, Z, a, table, shape, B);
  }
  void smooth_max_backward(float* da, const float* dM, const float* M, const float* Z, const float* a, const float* table,
                           const kernels::SmoothMaxShape& shape, int64_t B) override {
    kernels::smooth_max_backward_ref(da, dM, M, Z, a, table, shape, B);
  }
  void pyramid_compose(float* out, const float* m, const float* levels, int64_t L, int64_t B, int64_t C, int64_t HW) override {
    kernels::pyramid_compose_ref(out, m, levels, L, B, C, HW);
  }
  void pyramid_compose_backward(float* dm, const float* dout, const float* m, const float* levels, int64_t L, int64_t B, int64_t C,
                                int64_t HW, bool accumulate) override {
    kernels::pyramid_compose_backward_ref(dm, dout, m, levels, L, B, C, HW, accumulate);
  }
};

}  // namespace

std::unique_ptr<Kernels> make_cpu_kernels() { return std::make_unique<CpuKernels>(); }

}  // namespace actmatch::cpu
