#include "kernels/step_trace.h"

namespace actmatch::kernels {

template <class T>
void record_step_ref(T* trace, const StepTerms<T>& terms, const uint32_t* step, int64_t rows, int64_t B) {
  const int64_t row = (static_cast<int64_t>(*step) - 1) % rows;
  const auto read = [](const T* values, int64_t i) { return values ? values[i] : T(0); };
  for (int64_t b = 0; b < B; ++b) {
    T* out = trace + (row * B + b) * kTraceColumns;
    T act = 0;
    for (int64_t l = 0; l < terms.taps; ++l) act += terms.act_weight[l] * terms.act[l * B + b];
    out[kTraceAct] = act;
    out[kTraceKl] = read(terms.kl, b);
    out[kTraceCe] = read(terms.ce, b);
    out[kTraceMargin] = read(terms.margin, b);
    out[kTraceArea] = read(terms.regulariser, 3 * b);
    out[kTraceBin] = read(terms.regulariser, 3 * b + 1);
    out[kTraceTv] = read(terms.regulariser, 3 * b + 2);
    double rob = 0;
    for (int64_t r = 0; r < terms.robust; ++r) rob += static_cast<double>(terms.rob[r * B + b]);
    out[kTraceRob] = terms.robust > 0 ? static_cast<T>(rob / static_cast<double>(terms.robust)) : T(0);
    out[kTraceNec] = read(terms.nec, b);
    T total = 0;
    for (int t = 0; t < kLossTerms; ++t) total += terms.weight[t] * out[t];
    out[kTraceTotal] = total;
    out[kTracePixels] = read(terms.outcome, 2 * b);
    out[kTraceKept] = read(terms.outcome, 2 * b + 1);
  }
}

template void record_step_ref<float>(float*, const StepTerms<float>&, const uint32_t*, int64_t, int64_t);
template void record_step_ref<double>(double*, const StepTerms<double>&, const uint32_t*, int64_t, int64_t);

}  // namespace actmatch::kernels
