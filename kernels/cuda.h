// The kernels on CUDA: one launcher for each kernel, with the formula, shapes and edge cases of the header that declares its `_ref`.
//
//   - Every pointer is device memory unless it says otherwise; fp32, row-major; no alignment beyond that of the element type is asked for
//     (16-byte aligned rows are quicker in some kernels). Pointers that the `_ref` allows to be null may be null here.
//   - A launcher only launches on `stream`: no allocation, no copy, no synchronisation. It may be captured in a CUDA graph. It returns the
//     launch's error; empty work (a size of 0) launches nothing.
//   - Capture freezes everything passed by value, pointers too. What changes from step to step is therefore read from device memory: the
//     Adam step and learning rate, the background's image and number, all weights, areas, thresholds and temperatures given per image, the
//     controller's state, the row of a trace or of a table of widths.
//     Frozen are sizes, `accumulate`, the kind of a distance, margins, the distillation temperature, and the pointers in ComposePass: keep
//     buffers where they are for as long as the graph lives. advance() counts on inside the graph.
//   - `scratch` is memory for two-stage reductions, of at least <launcher>_scratch_bytes(...) bytes, aligned to 8. It holds nothing between
//     calls and may be shared by launchers on one stream. Scratch of 0 bytes may be null.
//   - Sums run in a fixed order that depends on the sizes alone: the same input gives the same bits, whatever the neighbours in the batch.
//     There are no floating-point atomics.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/adam.h"
#include "kernels/area_control.h"
#include "kernels/depthwise.h"
#include "kernels/fill.h"
#include "kernels/gaussian_smooth.h"
#include "kernels/mask.h"
#include "kernels/pyramid.h"
#include "kernels/random_background.h"
#include "kernels/select_compose.h"
#include "kernels/smooth_max.h"
#include "kernels/step_trace.h"
#include "kernels/tap_distance.h"
#include "kernels/variable_smooth.h"

namespace actmatch::kernels::cuda {

cudaError_t fill(cudaStream_t stream, float* x, float value, int64_t count);
// The same value in several arrays; `parts` is read before the call returns, and goes in one launch up to 48 of them.
cudaError_t fill_parts(cudaStream_t stream, std::span<const FillPart> parts, float value);
// x = max(x, least); NaN stays.
cudaError_t clamp_below(cudaStream_t stream, float* x, float least, int64_t count);
// *counter += amount: for the step number of adam and the `first` of a BackgroundCursor.
cudaError_t advance(cudaStream_t stream, uint32_t* counter, uint32_t amount);

// mask.h
cudaError_t mask_activate(cudaStream_t stream, float* m, const float* s, const float* threshold, const float* inverse_temperature,
                          int64_t B, int64_t HW);
cudaError_t mask_activate_backward(cudaStream_t stream, float* ds, const float* dm, const float* m, const float* inverse_temperature,
                                   int64_t B, int64_t HW, bool accumulate);
cudaError_t hard_mask(cudaStream_t stream, float* h, const float* s, const float* threshold, int64_t B, int64_t HW);
// HW < 2^31.
cudaError_t top_fraction_mask(cudaStream_t stream, float* h, float* threshold, const float* s, const float* area, int64_t B, int64_t HW);
// `passes` is a host array of P entries, read before the call returns; the pointers in it are device memory. Up to kComposePasses of them
// go in one launch, more in several.
inline constexpr int64_t kComposePasses = 32;
cudaError_t compose(cudaStream_t stream, float* out, const float* x, const ComposePass<float>* passes, ChannelOrder order, int64_t B,
                    int64_t P, int64_t C, int64_t HW);
cudaError_t compose_backward(cudaStream_t stream, float* dmask, const float* dout, const float* x, const ComposePass<float>* passes,
                             ChannelOrder order, int64_t B, int64_t P, int64_t C, int64_t HW, bool accumulate);

// random_background.h; `spec` is read on the host, `cursor` (one) on the device: backgrounds first .. first + count - 1 of `image`.
// The numbers agree with the CPU's to about 1e-14 before they are rounded to float: almost always the same bits.
cudaError_t random_background(cudaStream_t stream, float* out, const BackgroundSpec& spec, RandomStream random_stream,
                              const BackgroundCursor* cursor, int64_t count);

// tap_distance.h; an image has at most 2^31 - 1 numbers.
size_t tap_prepare_scratch_bytes(TapDistance kind, int64_t B, int64_t C, int64_t HW);
cudaError_t tap_prepare(cudaStream_t stream, float* prepared, float* constant, const float* reference, TapDistance kind, ChannelOrder order,
                        int64_t B, int64_t C, int64_t HW, void* scratch);
size_t tap_distance_scratch_bytes(TapDistance kind, int64_t B, int64_t P, int64_t C, int64_t HW);
cudaError_t tap_distance(cudaStream_t stream, float* value, float* gradient, const float* current, const float* prepared,
                         const float* constant, const float* weight, TapDistance kind, ChannelOrder order, int64_t B, int64_t P, int64_t C,
                         int64_t HW, bool accumulate, void* scratch);

// logit_loss.h
cudaError_t kl_logits(cudaStream_t stream, float* value, float* gradient, const float* z, const float* target, const float* weight,
                      float temperature, int64_t B, int64_t P, int64_t K, bool accumulate);
cudaError_t cross_entropy(cudaStream_t stream, float* value, float* gradient, const float* z, const int32_t* label, const float* weight,
                          int64_t B, int64_t P, int64_t K, bool accumulate);
cudaError_t margin_hinge(cudaStream_t stream, float* value, float* gradient, const float* z, const int32_t* label, const float* weight,
                         float margin, int64_t B, int64_t P, int64_t K, bool accumulate);
cudaError_t necessity_hinge(cudaStream_t stream, float* value, float* gradient, const float* z, const float* target, const int32_t* label,
                            const float* weight, float margin, int64_t B, int64_t P, int64_t K, bool accumulate);
cudaError_t necessity_log(cudaStream_t stream, float* value, float* gradient, const float* z, const int32_t* label, const float* weight,
                          int64_t B, int64_t P, int64_t K, bool accumulate);
cudaError_t class_scores(cudaStream_t stream, int32_t* top, float* p_label, const float* z, const int32_t* label, int64_t B, int64_t P,
                         int64_t K);

// regulariser.h
size_t mask_regulariser_scratch_bytes(int64_t B, int64_t H, int64_t W);
cudaError_t mask_regulariser(cudaStream_t stream, float* value, float* dm, const float* m, const float* weight, int neighbours, int64_t B,
                             int64_t H, int64_t W, bool accumulate, void* scratch);
// HW < 2^31.
cudaError_t sorted_area(cudaStream_t stream, float* value, float* dm, const float* m, const float* area, const float* weight, int64_t B,
                        int64_t HW, bool accumulate);

// adam.h; step (one, counts from 1) and learning_rate (one) are device memory, options.learning_rate is not read. `tensors` is read before
// the call returns, and goes in one launch up to 48 of them.
cudaError_t adam(cudaStream_t stream, std::span<const AdamTensor> tensors, const AdamOptions& options, const uint32_t* step,
                 const double* learning_rate, float gradient_scale);

// area_control.h, step_trace.h, gaussian_smooth.h, select_compose.h; what is passed by value is frozen, the pointers in it too.
cudaError_t area_control(cudaStream_t stream, AreaState* state, float* area, float* best, float* outcome, const float* hard,
                         const int32_t* top, const float* p_label, const int32_t* label, const double* fall, const uint32_t* step,
                         const AreaControl& control, int64_t B, int64_t HW);
cudaError_t record_step(cudaStream_t stream, float* trace, const StepTerms<float>& terms, const uint32_t* step, int64_t rows, int64_t B);
cudaError_t gaussian_smooth(cudaStream_t stream, float* map, float* scratch, const SmoothTable<float>& table, const uint32_t* step,
                            int64_t B, int64_t H, int64_t W);
cudaError_t select_compose(cudaStream_t stream, float* out, const SelectSources<float>& sources, const SelectJob* jobs, bool complement,
                           int64_t n, int64_t C, int64_t H, int64_t W);
cudaError_t select_gain(cudaStream_t stream, float* gain, const float* gradient, const SelectSources<float>& sources, const SelectJob* jobs,
                        float sign, bool inside, int64_t n, int64_t C, int64_t H, int64_t W, bool accumulate);

// variable_smooth.h, smooth_max.h, pyramid.h; scratch as the header says, the forward pass leaves it alone.
cudaError_t variable_smooth(cudaStream_t stream, float* s, float* scratch, const float* w, const float* q, int64_t radius, int64_t B,
                            int64_t H, int64_t W);
cudaError_t variable_smooth_backward(cudaStream_t stream, float* dw, float* dq, float* scratch, const float* ds, const float* w,
                                     const float* q, float log_weight, int64_t radius, int64_t B, int64_t H, int64_t W);
cudaError_t smooth_max(cudaStream_t stream, float* M, float* Z, const float* a, const float* table, const SmoothMaxShape& shape, int64_t B);
cudaError_t smooth_max_backward(cudaStream_t stream, float* da, const float* dM, const float* M, const float* Z, const float* a,
                                const float* table, const SmoothMaxShape& shape, int64_t B);
cudaError_t pyramid_compose(cudaStream_t stream, float* out, const float* m, const float* levels, int64_t L, int64_t B, int64_t C,
                            int64_t HW);
cudaError_t pyramid_compose_backward(cudaStream_t stream, float* dm, const float* dout, const float* m, const float* levels, int64_t L,
                                     int64_t B, int64_t C, int64_t HW, bool accumulate);

// upsample.h
cudaError_t resize_bilinear(cudaStream_t stream, float* y, const float* x, int64_t planes, int64_t h, int64_t w, int64_t H, int64_t W);
cudaError_t resize_nearest(cudaStream_t stream, float* y, const float* x, int64_t planes, int64_t h, int64_t w, int64_t H, int64_t W);
cudaError_t resize_bilinear_backward(cudaStream_t stream, float* dx, const float* dy, int64_t planes, int64_t h, int64_t w, int64_t H,
                                     int64_t W, bool accumulate);
cudaError_t resize_nearest_backward(cudaStream_t stream, float* dx, const float* dy, int64_t planes, int64_t h, int64_t w, int64_t H,
                                    int64_t W, bool accumulate);

// depthwise.h; T is float or bfloat16, the bias float, sums float.
template <class T>
cudaError_t depthwise(cudaStream_t stream, T* y, const T* x, const T* filter, const float* bias, const DepthwiseShape& shape,
                      const Clip& clip);
template <class T>
cudaError_t depthwise_backward(cudaStream_t stream, T* dx, const T* dy, const T* y, const T* filter, const DepthwiseShape& shape,
                               const Clip& clip, bool accumulate);

}  // namespace actmatch::kernels::cuda
