// What a step leaves behind for people to read: its loss terms, the area of its hard mask, whether the mask kept the label. Nothing of it
// steers the optimisation, so it stays in device memory until somebody asks. The latest `rows` steps are there: step t (from 1) is written
// to row (t - 1) mod rows of trace [rows, B, kTraceColumns]. Bound by latency.
#pragma once

#include <cstdint>

namespace actmatch::kernels {

enum TraceColumn : int {  // the terms unweighted; the total weighted
  kTraceAct,
  kTraceKl,
  kTraceCe,
  kTraceMargin,
  kTraceArea,
  kTraceBin,
  kTraceTv,
  kTraceRob,
  kTraceNec,
  kTraceTotal,
  kTracePixels,  // of the hard mask
  kTraceKept,    // 1 or 0
  kTraceColumns,
};
inline constexpr int kLossTerms = kTraceTotal;

// Values of a step's terms as the loss kernels leave them, device memory; null where a term is off, which counts as 0.
template <class T>
struct StepTerms {
  const T* act = nullptr;         // [taps, B], and one weight a tap: act = sum over taps of weight * value, in order
  const T* act_weight = nullptr;  // [taps]
  int64_t taps = 0;
  const T* kl = nullptr;  // [B], like ce, margin and nec
  const T* ce = nullptr;
  const T* margin = nullptr;
  const T* regulariser = nullptr;  // [B, 3]: area, bin, tv
  const T* rob = nullptr;          // [robust, B]; the term is their mean
  int64_t robust = 0;
  const T* nec = nullptr;
  const T* outcome = nullptr;  // [B, 2]: pixels and kept, from area_control
  T weight[kLossTerms] = {};   // total = sum of weight * term, in the order of the columns
};

// step (one, device memory) counts from 1.
template <class T>
void record_step_ref(T* trace, const StepTerms<T>& terms, const uint32_t* step, int64_t rows, int64_t B);

}  // namespace actmatch::kernels
