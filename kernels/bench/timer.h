// How a kernel is timed: many launches captured in one CUDA graph, as the engine launches them, the graph replayed between two events.
#pragma once

#include <vector>

#include "kernels/bench/case.h"

namespace actmatch::kernels::bench {

// Microseconds a launch; the median of the replays, the quickest and the slowest.
struct Timing {
  double median = 0, least = 0, most = 0;
  int launches = 0, replays = 0;
};

class Timer {
 public:
  Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer();

  cudaStream_t stream() const { return stream_; }
  // A replay holds about `milliseconds` of launches, but at most `most_launches` of them.
  Timing time(const Launch& launch, int replays, double milliseconds = 0.5, int most_launches = 100);

 private:
  class Graph;
  double replay(const Graph& graph);  // milliseconds

  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace actmatch::kernels::bench
