// bfloat16 as a type of storage: arithmetic happens in float. The upper half of a float, rounded to nearest, ties to even; NaN stays NaN.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/host_device.h"

namespace actmatch::kernels {

struct bfloat16 {
  uint16_t bits;
};

ACTMATCH_HD inline float to_float(bfloat16 v) { return std::bit_cast<float>(static_cast<uint32_t>(v.bits) << 16); }
ACTMATCH_HD inline float to_float(float v) { return v; }

template <class T>
ACTMATCH_HD inline T from_float(float v);
template <>
ACTMATCH_HD inline float from_float<float>(float v) {
  return v;
}
template <>
ACTMATCH_HD inline bfloat16 from_float<bfloat16>(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return {static_cast<uint16_t>((bits >> 16) | 0x40u)};  // a NaN's payload must not round to infinity
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

}  // namespace actmatch::kernels
