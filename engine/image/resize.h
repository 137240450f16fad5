// Resizing as PIL and torchvision do it, because a classifier's accuracy was measured on such pictures. Equal to PIL to the last bit,
// but for PIL 13 and pictures more than twice as high as wide: it takes their columns first, which differs by at most one level.
#pragma once

#include "engine/image/decode.h"

namespace actmatch {

enum class Interpolation {
  kBilinear,  // antialiased: a triangle filter as wide as the reduction, rows first, rounded to 8 bits between the two passes
  kNearest,   // the source pixel under each target pixel's centre; the right or lower one of two that meet there
};

// The part [left, left+width) x [top, top+height) of `image` resized to full_width x full_height; only that part is computed.
// Source size >= 1x1, all sizes >= 1, the part inside the resized picture. Equal to PIL's Image.resize(...).crop(...).
Image resize_part(const Image& image, int64_t full_width, int64_t full_height, int64_t left, int64_t top, int width, int height,
                  Interpolation interpolation);

Image resize(const Image& image, int width, int height, Interpolation interpolation = Interpolation::kBilinear);

}  // namespace actmatch
