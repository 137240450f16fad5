// The random backgrounds that masks are checked on, in device memory. Each set is made when it is first wanted and kept, for all pictures
// of a run: the backgrounds depend on the seed, not on the picture.
#pragma once

#include <cstdint>

#include "engine/explain/device_buffer.h"
#include "kernels/random_background.h"
#include "kernels/select_compose.h"

namespace actmatch {

class BackgroundSets {
 public:
  // Which set: the first `count` backgrounds of a stream, or the next ones of the certify stream.
  enum Set : int32_t { kPrune, kCertify, kFresh, kSets };
  static Set of(kernels::RandomStream stream);  // prune or certify

  BackgroundSets(Backend& backend, const kernels::BackgroundSpec& spec, uint32_t image, int64_t count)
      : backend_(backend), spec_(spec), image_(image), count_(count) {}
  bool serves(const kernels::BackgroundSpec& spec, uint32_t image, int64_t count) const {
    return spec == spec_ && image == image_ && count == count_;
  }
  const float* get(Set set);  // [count, C, H, W]

 private:
  Backend& backend_;
  kernels::BackgroundSpec spec_;
  uint32_t image_;
  int64_t count_;
  DeviceBuffer sets_[kSets];
};
static_assert(BackgroundSets::kSets <= kernels::kSelectSets);

}  // namespace actmatch
