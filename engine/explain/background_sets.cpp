#include "engine/explain/background_sets.h"

#include "engine/backend/kernels.h"
#include "engine/core/error.h"

namespace actmatch {

using kernels::RandomStream;

BackgroundSets::Set BackgroundSets::of(RandomStream stream) {
  ACTMATCH_CHECK(stream == RandomStream::kPrune || stream == RandomStream::kCertify, "masks are checked on these two streams");
  return stream == RandomStream::kPrune ? kPrune : kCertify;
}

const float* BackgroundSets::get(Set set) {
  DeviceBuffer& memory = sets_[set];
  if (memory.count() == 0) {
    DeviceBuffer made(backend_, count_ * spec_.channels * spec_.height * spec_.width);
    const kernels::BackgroundCursor first{image_, set == kFresh ? static_cast<uint32_t>(count_) : 0};
    const DeviceArray<kernels::BackgroundCursor> cursor(backend_, std::span(&first, 1));
    backend_.kernels().random_background(made.data(), spec_, set == kPrune ? RandomStream::kPrune : RandomStream::kCertify, cursor.data(),
                                         count_);
    memory = std::move(made);
  }
  return memory.data();
}

}  // namespace actmatch
