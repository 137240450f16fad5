#include "engine/image/inspect.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "engine/core/error.h"
#include "engine/image/byte_reader.h"
#include "engine/image/exif.h"

namespace actmatch {
namespace {

constexpr const char* kFormatsRead = "JPEG, PNG, BMP, GIF and PNM (PBM, PGM, PPM) are read";

[[noreturn]] void fail_cut(const std::string& name, const char* format) {
  throw Error(ErrorCode::kFormat, "'" + name + "' is cut short: the " + format + " data ends too early; get the whole file again");
}

[[noreturn]] void fail_kind(const std::string& name, const std::string& what) {
  throw Error(ErrorCode::kUnsupported, "'" + name + "' is " + what + ", which is not read; save it again as PNG or as a plain JPEG");
}

// Steps over the entropy-coded data of a scan to the next marker other than a restart.
size_t end_of_scan(const ByteReader& reader, size_t at, const std::string& name) {
  for (; reader.has(at, 2); ++at) {
    const uint8_t next = reader.u8(at + 1);
    if (reader.u8(at) == 0xFF && next != 0x00 && next != 0xFF && !(next >= 0xD0 && next <= 0xD7)) return at;
  }
  fail_cut(name, "JPEG");
}

[[noreturn]] void fail_jpeg(const std::string& name, const std::string& what) {
  throw Error(ErrorCode::kFormat, "'" + name + "' is a damaged JPEG: " + what + "; get the file again");
}

void refuse_rare_frames(uint8_t marker, uint8_t precision, const std::string& name) {
  if (marker == 0xC3 || marker == 0xC7 || marker == 0xCB || marker == 0xCF) fail_kind(name, "a lossless JPEG");
  if (marker > 0xC8) fail_kind(name, "an arithmetic-coded JPEG");
  if (marker > 0xC2) fail_kind(name, "a hierarchical JPEG");
  if (precision != 8) fail_kind(name, "a JPEG with " + std::to_string(precision) + " bits a sample");
}

void inspect_jpeg(const ByteReader& reader, const std::string& name, PictureFacts& facts) {
  constexpr uint8_t kDht = 0xC4, kSos = 0xDA, kEoi = 0xD9, kApp1 = 0xE1;
  bool scanned = false;
  size_t at = 2;
  while (true) {
    while (reader.has(at, 2) && (reader.u8(at) != 0xFF || reader.u8(at + 1) == 0xFF)) ++at;  // padding and fill bytes
    if (!reader.has(at, 2)) fail_cut(name, "JPEG");
    const uint8_t marker = reader.u8(at + 1);
    at += 2;
    if (marker == 0x00 || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;  // no segment follows these
    if (marker == kEoi && scanned) break;
    if (marker == kEoi) fail_jpeg(name, "it holds no picture");
    const size_t length = reader.be16(at);
    if (length < 2 || !reader.has(at, length)) fail_cut(name, "JPEG");
    if (marker >= 0xC0 && marker <= 0xCF && marker != kDht && marker != 0xC8 && marker != 0xCC) {
      refuse_rare_frames(marker, reader.u8(at + 2), name);
      facts.components = reader.u8(at + 7);
    } else if (marker == kApp1 && facts.orientation == 1 && length >= 8 && reader.starts_with(at + 2, "Exif\0\0", 6)) {
      facts.orientation = exif_orientation(reader.part(at + 8, length - 8));
    } else if (marker == kSos) {
      scanned = true;
    }
    at += length;
    if (marker == kSos) at = end_of_scan(reader, at, name);
  }
}

// The CRC-32 of PNG chunks (polynomial 0xEDB88320, reflected).
uint32_t crc32(std::span<const std::byte> bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = (c & 1u) ? 0xEDB88320u ^ (c >> 1) : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  uint32_t crc = 0xFFFFFFFFu;
  for (std::byte b : bytes) crc = table[(crc ^ static_cast<uint32_t>(b)) & 0xFFu] ^ (crc >> 8);
  return ~crc;
}

void inspect_png(const ByteReader& reader, const std::string& name, PictureFacts& facts) {
  bool first = true;
  for (size_t at = 8;;) {
    if (!reader.has(at, 12)) fail_cut(name, "PNG");
    const size_t length = reader.be32(at);
    if (!reader.has(at + 8, length) || !reader.has(at + 8 + length, 4)) fail_cut(name, "PNG");
    const bool critical = (reader.u8(at + 4) & 0x20) == 0;  // an upper-case first letter
    const auto is = [&](const char* type) { return reader.starts_with(at + 4, type, 4); };
    if (is("CgBI")) fail_kind(name, "a PNG in Apple's own variant (CgBI)");
    if (first && !is("IHDR")) throw Error(ErrorCode::kFormat, "'" + name + "' is a damaged PNG: it does not begin with its header");
    first = false;
    if (critical && crc32(reader.part(at + 4, length + 4)) != reader.be32(at + 8 + length))
      throw Error(ErrorCode::kFormat, "'" + name + "' is a damaged PNG: a checksum does not fit; get the file again");
    if (is("IHDR")) facts.sixteen_bit = length >= 9 && reader.u8(at + 16) == 16;
    if (is("eXIf")) facts.orientation = exif_orientation(reader.part(at + 8, length));
    if (is("IEND")) return;
    at += 12 + length;
  }
}

void inspect_bmp(const ByteReader& reader, const std::string& name) {
  if (!reader.has(0, 26)) fail_cut(name, "BMP");
  const uint32_t header_size = reader.le32(14);
  const bool os2 = header_size == 12;
  if (!reader.has(14, header_size)) fail_cut(name, "BMP");
  const int64_t width = os2 ? reader.le16(18) : static_cast<int32_t>(reader.le32(18));
  const int64_t signed_height = os2 ? reader.le16(20) : static_cast<int32_t>(reader.le32(22));
  const int64_t height = signed_height < 0 ? -signed_height : signed_height;  // negative: rows from top to bottom
  const int64_t bits = os2 ? reader.le16(24) : reader.le16(28);
  const uint32_t compression = os2 ? 0 : reader.le32(30);
  if (compression == 1 || compression == 2) fail_kind(name, "a run-length coded BMP");
  if (compression != 0 && compression != 3) fail_kind(name, "a BMP with an embedded picture");
  if (width <= 0 || height == 0) throw Error(ErrorCode::kFormat, "'" + name + "' is a damaged BMP: its size is 0; get the file again");
  // Rows are padded to 4 bytes; some writers leave the padding of the last one out.
  const int64_t row = (width * bits + 31) / 32 * 4;
  const int64_t last_row = (width * bits + 7) / 8;
  if (height > INT64_MAX / (row + 1)) fail_cut(name, "BMP");
  if (static_cast<int64_t>(reader.size()) < reader.le32(10) + row * (height - 1) + last_row) fail_cut(name, "BMP");
}

// Steps over the blocks up to the end of the first frame's pixel data.
void inspect_gif(const ByteReader& reader, const std::string& name) {
  constexpr uint8_t kExtension = 0x21, kImage = 0x2C, kTrailer = 0x3B;
  const auto table_bytes = [](uint8_t flags) { return flags & 0x80 ? size_t{3} << ((flags & 7) + 1) : size_t{0}; };
  size_t at = 13 + table_bytes(reader.u8(10));
  const auto skip_sub_blocks = [&] {
    while (true) {
      if (!reader.has(at, 1)) fail_cut(name, "GIF");
      const size_t length = reader.u8(at);
      at += 1 + length;
      if (length == 0) return;
    }
  };
  while (true) {
    if (!reader.has(at, 1)) fail_cut(name, "GIF");
    const uint8_t block = reader.u8(at++);
    if (block == kExtension) {
      ++at;  // its label
      skip_sub_blocks();
    } else if (block == kImage) {
      if (!reader.has(at, 9)) fail_cut(name, "GIF");
      at += 9 + table_bytes(reader.u8(at + 8));
      ++at;  // the first code size
      return skip_sub_blocks();
    } else {
      throw Error(ErrorCode::kFormat,
                  "'" + name + "' is " + (block == kTrailer ? "a GIF without a picture" : "a damaged GIF") + "; get the file again");
    }
  }
}

// Formats people do try, for a message that helps more than "not a picture".
const char* known_but_not_read(const ByteReader& r) {
  if (r.starts_with(0, "RIFF", 4) && r.starts_with(8, "WEBP", 4)) return "a WebP picture";
  if (r.starts_with(0, "II*\0", 4) || r.starts_with(0, "MM\0*", 4)) return "a TIFF picture";
  if (r.starts_with(4, "ftypavif", 8) || r.starts_with(4, "ftypavis", 8)) return "an AVIF picture";
  if (r.starts_with(4, "ftyphei", 7) || r.starts_with(4, "ftypmif1", 8)) return "a HEIF picture";
  if (r.starts_with(0, "\0\0\0\x0cJXL ", 8) || r.starts_with(0, "\xff\x0a", 2)) return "a JPEG XL picture";
  if (r.starts_with(4, "jP  ", 4) || r.starts_with(0, "\xff\x4f\xff\x51", 4)) return "a JPEG 2000 picture";
  if (r.starts_with(0, "%PDF", 4)) return "a PDF document";
  if (r.starts_with(0, "8BPS", 4)) return "a Photoshop document";
  return nullptr;
}

}  // namespace

const char* name_of(PictureFormat format) {
  switch (format) {
    case PictureFormat::kJpeg: return "JPEG";
    case PictureFormat::kPng: return "PNG";
    case PictureFormat::kBmp: return "BMP";
    case PictureFormat::kGif: return "GIF";
    case PictureFormat::kPnm: return "PNM";
  }
  return "?";
}

PictureFacts inspect_picture(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.empty()) throw Error(ErrorCode::kFormat, "'" + name + "' is empty; " + kFormatsRead);
  const ByteReader reader(bytes);
  PictureFacts facts;
  if (reader.starts_with(0, "\xff\xd8\xff", 3)) {
    facts.format = PictureFormat::kJpeg;
    inspect_jpeg(reader, name, facts);
  } else if (reader.starts_with(0, "\x89PNG\r\n\x1a\n", 8)) {
    facts.format = PictureFormat::kPng;
    inspect_png(reader, name, facts);
  } else if (reader.starts_with(0, "GIF87a", 6) || reader.starts_with(0, "GIF89a", 6)) {
    facts.format = PictureFormat::kGif;
    inspect_gif(reader, name);
  } else if (reader.starts_with(0, "BM", 2)) {
    facts.format = PictureFormat::kBmp;
    inspect_bmp(reader, name);
  } else if (reader.u8(0) == 'P' && reader.u8(1) >= '1' && reader.u8(1) <= '6') {
    facts.format = PictureFormat::kPnm;
  } else if (const char* kind = known_but_not_read(reader)) {
    throw Error(ErrorCode::kUnsupported, "'" + name + "' is " + kind + ", which is not read; " + kFormatsRead);
  } else {
    throw Error(ErrorCode::kFormat, "'" + name + "' is not a picture; " + kFormatsRead);
  }
  return facts;
}

}  // namespace actmatch
