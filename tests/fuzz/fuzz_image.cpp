// Fuzzes what reads foreign bytes in engine/image: pictures, .npy arrays, EXIF notes and preprocessing JSON. The first byte chooses.
// Anything but an actmatch::Error (std::bad_alloc too) is a finding.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "engine/image/decode.h"
#include "engine/image/exif.h"
#include "engine/image/npy.h"
#include "engine/image/preprocess.h"

namespace {

// Makes the checksums of a PNG fit what the fuzzer did to its chunks, or no change would ever reach the decoder.
void repair_png(std::vector<std::byte>& png) {
  const auto be32 = [&](size_t at) {
    uint32_t v = 0;
    for (size_t i = 0; i < 4; ++i) v = v << 8 | static_cast<uint32_t>(png[at + i]);
    return v;
  };
  for (size_t at = 8; at + 12 <= png.size();) {
    const size_t length = be32(at);
    if (length > png.size() - at - 12) return;
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = at + 4; i < at + 8 + length; ++i) {
      crc ^= static_cast<uint32_t>(png[i]);
      for (int bit = 0; bit < 8; ++bit) crc = (crc & 1u) ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    for (size_t i = 0; i < 4; ++i) png[at + 8 + length + i] = static_cast<std::byte>(~crc >> (24 - 8 * i));
    at += 12 + length;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace actmatch;
  if (size == 0) return 0;
  const auto* begin = reinterpret_cast<const std::byte*>(data) + 1;
  std::vector<std::byte> bytes(begin, begin + size - 1);  // a copy of its own, so that AddressSanitizer sees reads past the end
  constexpr DecodeLimits kQuick{512, 1 << 16};            // large pictures cost time and find nothing that small ones do not
  try {
    switch (data[0]) {
      case 'n': parse_npy(bytes, "fuzz"); break;
      case 'e': exif_orientation(bytes); break;
      case 'j': preprocess_to_json(preprocess_from_json(std::string(data + 1, data + size), "fuzz")); break;
      default: {
        if (bytes.size() > 1 && bytes[0] == std::byte{0x89}) repair_png(bytes);
        const Image image = decode_image(bytes, "fuzz", kQuick);
        if (image.rgb.size() != static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * 3) __builtin_trap();
        fit_image(image, preprocess_preset("imagenet"), 8, 8);
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
