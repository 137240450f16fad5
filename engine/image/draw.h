// Masks as pictures, and PNG bytes of them. A hard mask holds height*width bytes, 0 or not 0; a soft one height*width floats in 0..1.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/image/decode.h"

namespace actmatch {

using Colour = std::array<uint8_t, 3>;
constexpr Colour kMeanColour = {124, 116, 104};  // ImageNet's mean, rounded: 255 * (.485, .456, .406)

// One 8-bit sample a pixel, rows from top to bottom.
struct GreyImage {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> grey;
};

// 255 where the mask is set, 0 elsewhere.
GreyImage draw_mask(std::span<const uint8_t> mask, int width, int height);
// A soft mask as grey, round(255*m); values outside 0..1 are clipped, NaN is 0.
GreyImage draw_soft_mask(std::span<const float> soft, int width, int height);

// The picture where the mask is set, `elsewhere` in the other pixels: what the classifier was shown.
Image draw_explanation(const Image& image, std::span<const uint8_t> mask, Colour elsewhere = kMeanColour);

// The picture with everything outside the mask darkened and drained of colour, and the mask's outline in a strong colour on the
// first pixels outside it: one pixel wide, two from 320 pixels of the short side on.
Image draw_overlay(const Image& image, std::span<const uint8_t> mask);

// A soft mask in colours of even lightness steps, from deep violet (0) over red and orange to pale yellow (1).
Image draw_heat(std::span<const float> soft, int width, int height);
// The same colours over the picture's brightness, more opaque where the mask is stronger.
Image draw_heat_over(const Image& image, std::span<const float> soft);

// PNG files. Throws kInvalidArgument for a picture without pixels and kOutOfMemory.
std::vector<std::byte> encode_png(const Image& image);
std::vector<std::byte> encode_png(const GreyImage& image);

}  // namespace actmatch
