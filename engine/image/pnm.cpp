#include "engine/image/pnm.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/image/byte_reader.h"

namespace actmatch {
namespace {

class PnmReader {
 public:
  PnmReader(std::span<const std::byte> bytes, const std::string& name) : reader_(bytes), name_(name) {}

  // A decimal number after white space and comments, at most `limit`.
  int64_t number(int64_t limit) {
    skip_space();
    int64_t value = 0;
    const size_t begin = at_;
    for (; is_digit(); ++at_) value = std::min<int64_t>(value * 10 + (reader_.u8(at_) - '0'), limit + 1);
    if (at_ == begin) fail(reader_.has(at_, 1) ? "has something else where a number belongs" : "is cut short");
    if (value > limit) fail("holds a number over " + std::to_string(limit));
    return value;
  }

  // One digit, 0 or 1; plain bitmaps may leave out the space between them.
  int bit() {
    skip_space();
    if (!is_digit() || reader_.u8(at_) > '1') fail(reader_.has(at_, 1) ? "has something else where a 0 or 1 belongs" : "is cut short");
    return reader_.u8(at_++) - '0';
  }

  // Steps over the single white space in front of binary data and returns where that starts.
  size_t data_start(int64_t needed) {
    ++at_;
    if (!reader_.has(at_, static_cast<size_t>(needed))) fail("is cut short");
    return at_;
  }

  const ByteReader& bytes() const { return reader_; }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::kFormat, "'" + name_ + "' is a damaged PNM picture: it " + what + "; get the file again");
  }

 private:
  bool is_digit() const { return reader_.u8(at_) >= '0' && reader_.u8(at_) <= '9'; }
  void skip_space() {
    for (; reader_.has(at_, 1); ++at_) {
      const uint8_t c = reader_.u8(at_);
      if (c == '#') {
        while (reader_.has(at_, 1) && reader_.u8(at_) != '\n') ++at_;
      } else if (c != ' ' && !(c >= '\t' && c <= '\r')) {
        return;
      }
    }
  }

  ByteReader reader_;
  const std::string& name_;
  size_t at_ = 2;  // behind "P1" .. "P6"
};

}  // namespace

void check_picture_size(int64_t width, int64_t height, const std::string& name, const DecodeLimits& limits) {
  if (width <= limits.max_side && height <= limits.max_side && width * height <= limits.max_pixels) return;
  throw Error(ErrorCode::kUnsupported, "'" + name + "' is too large: " + std::to_string(width) + "x" + std::to_string(height) +
                                           " pixels; at most " + std::to_string(limits.max_side) + " a side and " +
                                           std::to_string(limits.max_pixels) + " pixels are read, so make it smaller");
}

Image decode_pnm(std::span<const std::byte> bytes, const std::string& name, const DecodeLimits& limits) {
  PnmReader pnm(bytes, name);
  const int kind = pnm.bytes().u8(1) - '0';
  const bool plain = kind <= 3;
  const bool bitmap = kind == 1 || kind == 4;
  const int64_t channels = kind == 3 || kind == 6 ? 3 : 1;
  const int64_t width = pnm.number(INT32_MAX), height = pnm.number(INT32_MAX);
  if (width == 0 || height == 0) pnm.fail("has no pixels");
  check_picture_size(width, height, name, limits);
  const int64_t maximum = bitmap ? 1 : pnm.number(65535);
  if (maximum == 0) pnm.fail("has the maximum 0");

  const int64_t row_samples = width * channels;
  const int64_t sample_bytes = maximum > 255 ? 2 : 1;
  const int64_t row_bytes = bitmap ? (width + 7) / 8 : row_samples * sample_bytes;
  const size_t start = plain ? 0 : pnm.data_start(row_bytes * height);
  if (plain && static_cast<int64_t>(bytes.size()) < row_samples * height) pnm.fail("is cut short");  // a digit a sample at least
  Image image{static_cast<int>(width), static_cast<int>(height), std::vector<uint8_t>(static_cast<size_t>(width * height * 3))};
  uint8_t* out = image.rgb.data();
  for (int64_t y = 0; y < height; ++y)
    for (int64_t i = 0; i < row_samples; ++i) {
      const size_t row = start + static_cast<size_t>(y * row_bytes);
      int64_t value = 0;
      if (bitmap)  // 1 is black
        value = 1 - (plain ? pnm.bit() : (pnm.bytes().u8(row + static_cast<size_t>(i / 8)) >> (7 - i % 8)) & 1);
      else if (plain)
        value = pnm.number(65535);
      else
        value = sample_bytes == 2 ? pnm.bytes().be16(row + static_cast<size_t>(2 * i)) : pnm.bytes().u8(row + static_cast<size_t>(i));
      const auto level = static_cast<uint8_t>((std::min(value, maximum) * 255 + maximum / 2) / maximum);
      out = std::fill_n(out, channels == 1 ? 3 : 1, level);
    }
  return image;
}

}  // namespace actmatch
