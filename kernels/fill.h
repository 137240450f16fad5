// Constants in several arrays at once. Bound by what it writes.
#pragma once

#include <cstdint>

namespace actmatch::kernels {

struct FillPart {
  float* data = nullptr;  // [count]
  int64_t count = 0;
};

}  // namespace actmatch::kernels
