// What is done to a result before it is stored: ReLU, ReLU6 and other clips.
#pragma once

#include <limits>

#include "kernels/host_device.h"

namespace actmatch::kernels {

// Values below `low` become low, above `high` high; NaN stays. The default changes nothing. A gradient passes where low < y, and y < high
// unless high is infinite.
struct Clip {
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float low = -kInfinity, high = kInfinity;

  // Where a result `y` of the clip passes a gradient.
  template <class T>
  ACTMATCH_HD bool passes(T y) const {
    return y > static_cast<T>(low) && (y < static_cast<T>(high) || high == kInfinity);
  }
  // Comparisons, not fmaxf: a NaN is passed on.
  template <class T>
  ACTMATCH_HD T operator()(T v) const {
    if (v < static_cast<T>(low)) v = static_cast<T>(low);
    return v > static_cast<T>(high) ? static_cast<T>(high) : v;
  }
  ACTMATCH_HD bool changes() const { return low > -kInfinity || high < kInfinity; }
  bool operator==(const Clip&) const = default;
};
inline constexpr Clip kNoClip{};
inline constexpr Clip kReluClip{0.0f, Clip::kInfinity};
inline constexpr Clip kRelu6Clip{0.0f, 6.0f};

}  // namespace actmatch::kernels
