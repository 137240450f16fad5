// A named range on the host's timeline of NVIDIA's profilers (Nsight). Costs nothing to speak of when none is attached.
#pragma once

#if __has_include(<nvtx3/nvToolsExt.h>) && !defined(ACTMATCH_SIMT)
#include <nvtx3/nvToolsExt.h>
#define ACTMATCH_HAVE_NVTX 1
#endif

namespace actmatch::cuda {

class TraceRange {
 public:
#if defined(ACTMATCH_HAVE_NVTX)
  explicit TraceRange(const char* name) { nvtxRangePushA(name); }
  ~TraceRange() { nvtxRangePop(); }
#else
  explicit TraceRange(const char*) {}
#endif
  TraceRange(const TraceRange&) = delete;
  TraceRange& operator=(const TraceRange&) = delete;
};

}  // namespace actmatch::cuda
