// The orientation a camera noted in a picture, and how to undo it.
#pragma once

#include <cstddef>
#include <span>

#include "engine/image/decode.h"

namespace actmatch {

// The orientation (1..8) in a block of EXIF data, which is a TIFF header with directories behind it; 1, upright, when the block
// says nothing or is damaged: a picture is worth more than its notes.
int exif_orientation(std::span<const std::byte> tiff);

// The upright picture of one stored in orientation 1..8.
Image apply_orientation(Image image, int orientation);

}  // namespace actmatch
