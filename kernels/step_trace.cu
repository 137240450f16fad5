// One thread an image: a few dozen numbers are read.
#include "kernels/common/launch.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

constexpr int kTraceThreads = 32;

__device__ __forceinline__ float value_or_zero(const float* values, int64_t i) { return values != nullptr ? values[i] : 0.0f; }

__global__ void record_step_kernel(float* trace, StepTerms<float> terms, const uint32_t* step, int64_t rows, int64_t B) {
  const int64_t b = flat_index();
  if (b >= B) return;
  float* out = trace + ((static_cast<int64_t>(*step) - 1) % rows * B + b) * kTraceColumns;
  float term[kLossTerms] = {};
  for (int64_t l = 0; l < terms.taps; ++l) term[kTraceAct] += terms.act_weight[l] * terms.act[l * B + b];
  term[kTraceKl] = value_or_zero(terms.kl, b);
  term[kTraceCe] = value_or_zero(terms.ce, b);
  term[kTraceMargin] = value_or_zero(terms.margin, b);
  term[kTraceArea] = value_or_zero(terms.regulariser, 3 * b);
  term[kTraceBin] = value_or_zero(terms.regulariser, 3 * b + 1);
  term[kTraceTv] = value_or_zero(terms.regulariser, 3 * b + 2);
  double rob = 0;
  for (int64_t r = 0; r < terms.robust; ++r) rob += static_cast<double>(terms.rob[r * B + b]);
  term[kTraceRob] = terms.robust > 0 ? static_cast<float>(rob / static_cast<double>(terms.robust)) : 0.0f;
  term[kTraceNec] = value_or_zero(terms.nec, b);
  float total = 0;
  for (int t = 0; t < kLossTerms; ++t) {
    out[t] = term[t];
    total += terms.weight[t] * term[t];
  }
  out[kTraceTotal] = total;
  out[kTracePixels] = value_or_zero(terms.outcome, 2 * b);
  out[kTraceKept] = value_or_zero(terms.outcome, 2 * b + 1);
}

}  // namespace

cudaError_t record_step(cudaStream_t stream, float* trace, const StepTerms<float>& terms, const uint32_t* step, int64_t rows, int64_t B) {
  return launch(stream, record_step_kernel, grid_of(ceil_div(B, kTraceThreads)), kTraceThreads, trace, terms, step, rows, B);
}

}  // namespace actmatch::kernels::cuda
