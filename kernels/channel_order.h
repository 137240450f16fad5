// Whether a channel's positions lie together in memory, or a position's channels.
#pragma once

#include <cstdint>

namespace actmatch::kernels {

enum class ChannelOrder : uint8_t {
  kFirst,  // [C, HW]
  kLast,   // [HW, C]
};

}  // namespace actmatch::kernels
