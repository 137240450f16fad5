// The portable bitmap family, P1 to P6. Read by ourselves: stb_image reads neither text files, bitmaps nor other maxima than 255.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/image/decode.h"

namespace actmatch {

// Samples become round(255*v/maximum). Throws kFormat for damaged files and kUnsupported for pictures over the limits.
Image decode_pnm(std::span<const std::byte> bytes, const std::string& name, const DecodeLimits& limits);

// Throws kUnsupported when a picture of this size is over the limits, naming the picture and both sizes.
void check_picture_size(int64_t width, int64_t height, const std::string& name, const DecodeLimits& limits);

}  // namespace actmatch
