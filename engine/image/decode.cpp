#include "engine/image/decode.h"

#include "engine/core/error.h"
#include "engine/image/exif.h"
#include "engine/image/file.h"
#include "engine/image/inspect.h"
#include "engine/image/jpeg.h"
#include "engine/image/pnm.h"
#include "engine/image/stb.h"

namespace actmatch {
namespace {

[[noreturn]] void fail_decode(const std::string& name, PictureFormat format, const std::string& reason) {
  if (reason == "outofmem")
    throw Error(ErrorCode::kOutOfMemory,
                "'" + name + "' needs more memory to decode than there is, or than its size explains; make it smaller");
  throw Error(ErrorCode::kFormat, "'" + name + "' cannot be decoded as " + name_of(format) + " (" + reason +
                                      "): it is cut short, damaged or of a rare kind; get it again or save it as PNG");
}

// The largest buffer that an honest picture of this size needs: 16-bit RGBA rows, doubled because stb grows its buffers that way,
// or the compressed data itself, doubled likewise.
size_t largest_buffer(int width, int height, size_t file_size) {
  constexpr size_t kSmallTables = size_t{1} << 20;
  return static_cast<size_t>(width) * static_cast<size_t>(height) * 16 + 4 * file_size + kSmallTables;
}

}  // namespace

Image decode_image(std::span<const std::byte> bytes, const std::string& name, const DecodeLimits& limits) {
  const PictureFacts facts = inspect_picture(bytes, name);
  if (facts.format == PictureFormat::kPnm) return decode_pnm(bytes, name, limits);

  int width = 0, height = 0, channels = 0;
  std::string reason;
  const bool jpeg = facts.format == PictureFormat::kJpeg;
  if (!(jpeg ? read_jpeg_size(bytes, width, height, reason) : stb::read_size(bytes, width, height, channels, reason)))
    fail_decode(name, facts.format, reason);
  check_picture_size(width, height, name, limits);
  const size_t buffer = largest_buffer(width, height, bytes.size());
  Image image;
  if (jpeg) {
    image.rgb = decode_jpeg(bytes, facts.components, image.width, image.height, reason);
    if (image.rgb.empty()) fail_decode(name, facts.format, reason);
  } else if (facts.sixteen_bit) {
    const std::vector<uint16_t> samples = stb::decode_rgb16(bytes, buffer, image.width, image.height, reason);
    if (samples.empty()) fail_decode(name, facts.format, reason);
    image.rgb.reserve(samples.size());
    for (uint16_t v : samples) image.rgb.push_back(static_cast<uint8_t>((v + 128u) / 257u));
  } else {
    image.rgb = stb::decode_rgb8(bytes, buffer, image.width, image.height, reason);
    if (image.rgb.empty()) fail_decode(name, facts.format, reason);
  }
  return apply_orientation(std::move(image), facts.orientation);
}

Image read_image(const std::string& path, const DecodeLimits& limits) { return decode_image(read_file(path), path, limits); }

}  // namespace actmatch
