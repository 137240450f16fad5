// What the machine itself can do, measured: the yardsticks of the kernels' times.
#pragma once

#include <cstddef>

#include "kernels/bench/timer.h"

namespace actmatch::kernels::bench {

struct Ceilings {
  double copy = 0;        // bytes a second, read and written, between buffers far larger than the cache
  double cache_copy = 0;  // the same within the L2 cache
  double fp32 = 0;        // operations a second, by multiply-adds
  double tensor = 0;      // operations a second, by the bfloat16 mma.sync instruction that the kernels use; wgmma reaches more
  double launch = 0;      // seconds from one empty kernel to the next in a graph
  size_t cache_bytes = 0;
};

Ceilings measure_ceilings(Timer& timer, int replays);

// The least time for so much work, and what sets it.
enum class Bound { kLaunch, kMemory, kCache, kFp32, kTensorCores };
const char* name_of(Bound bound);
struct Floor {
  double seconds = 0;
  Bound bound = Bound::kLaunch;
};
// `resident`: bytes of all buffers; work on few of them finds them in the cache when it is repeated, as the engine repeats its steps.
Floor floor_of(const Ceilings& ceilings, size_t traffic, size_t resident, double operations, Unit unit);

}  // namespace actmatch::kernels::bench
