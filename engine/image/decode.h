// Pictures from files: JPEG, PNG, BMP, GIF (first frame) and PNM become 8-bit RGB, upright.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace actmatch {

// A decoded picture: 8-bit RGB, interleaved, rows from top to bottom; rgb holds height*width*3 bytes.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;

  const uint8_t* pixel(int x, int y) const {
    return rgb.data() + 3 * (static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x));
  }
  uint8_t* pixel(int x, int y) { return rgb.data() + 3 * (static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)); }
};

// What a picture may cost at most; read from its header, before anything is decoded.
struct DecodeLimits {
  int max_side = 16384;
  int64_t max_pixels = int64_t{1} << 28;
};

// Decodes the bytes of a picture; `name` stands for it in error messages.
// Grey becomes three equal channels, alpha is dropped and not blended, 16-bit samples become round(v/257), CMYK and YCCK JPEGs
// (stored inverted) become c*k/255, and the EXIF orientation (JPEG, PNG) is applied.
// Throws kFormat for what is no picture or a damaged one, kUnsupported for kinds that are not read and for pictures over the limits.
Image decode_image(std::span<const std::byte> bytes, const std::string& name, const DecodeLimits& limits = {});

// decode_image of a file. Throws also kNotFound (no such file), kInvalidArgument (a folder) and kIo (unreadable).
Image read_image(const std::string& path, const DecodeLimits& limits = {});

}  // namespace actmatch
