#include "engine/image/exif.h"

#include <algorithm>

#include "engine/image/byte_reader.h"

namespace actmatch {

int exif_orientation(std::span<const std::byte> tiff) {
  constexpr uint32_t kOrientationTag = 0x0112;
  constexpr uint32_t kShort = 3;
  constexpr size_t kEntrySize = 12;
  const ByteReader reader(tiff);
  const bool little = reader.starts_with(0, "II", 2);
  if (!little && !reader.starts_with(0, "MM", 2)) return 1;
  const auto u16 = [&](size_t at) { return little ? reader.le16(at) : reader.be16(at); };
  const auto u32 = [&](size_t at) { return little ? reader.le32(at) : reader.be32(at); };
  if (u16(2) != 42) return 1;
  const size_t directory = u32(4);
  const size_t entries = u16(directory);
  for (size_t i = 0; i < entries; ++i) {
    const size_t at = directory + 2 + i * kEntrySize;
    if (!reader.has(at, kEntrySize)) return 1;
    if (u16(at) != kOrientationTag) continue;
    const uint32_t value = u16(at + 8);
    return u16(at + 2) == kShort && u32(at + 4) == 1 && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image apply_orientation(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const int w = image.width, h = image.height;
  const bool swapped = orientation >= 5;  // the axes change places
  Image out;
  out.width = swapped ? h : w;
  out.height = swapped ? w : h;
  out.rgb.resize(image.rgb.size());
  // Which of the stored axes run backwards.
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) {
      const int sx = swapped ? y : x, sy = swapped ? x : y;
      const uint8_t* from = image.pixel(flip_x ? w - 1 - sx : sx, flip_y ? h - 1 - sy : sy);
      std::copy(from, from + 3, out.pixel(x, y));
    }
  return out;
}

}  // namespace actmatch
