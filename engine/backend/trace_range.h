// A named stretch of a thread's time in the profiler of the device (Nsight Systems), where the backend has one; without it, nothing.
#pragma once

#include "engine/backend/backend.h"

namespace actmatch {

class TraceRange {
 public:
  TraceRange(Backend& backend, const char* name) : backend_(backend) { backend_.begin_range(name); }
  TraceRange(const TraceRange&) = delete;
  TraceRange& operator=(const TraceRange&) = delete;
  ~TraceRange() { backend_.end_range(); }

 private:
  Backend& backend_;
};

}  // namespace actmatch
