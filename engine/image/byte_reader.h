// Bounds-checked big- and little-endian reads for the header parsers of this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace actmatch {

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t size() const { return bytes_.size(); }
  bool has(size_t at, size_t count) const { return at <= bytes_.size() && count <= bytes_.size() - at; }
  // The callers ask has() first; a read outside yields zero rather than undefined behaviour.
  uint8_t u8(size_t at) const { return has(at, 1) ? static_cast<uint8_t>(bytes_[at]) : uint8_t{0}; }
  uint32_t be16(size_t at) const { return uint32_t{u8(at)} << 8 | u8(at + 1); }
  uint32_t le16(size_t at) const { return uint32_t{u8(at + 1)} << 8 | u8(at); }
  uint32_t be32(size_t at) const { return be16(at) << 16 | be16(at + 2); }
  uint32_t le32(size_t at) const { return le16(at + 2) << 16 | le16(at); }
  bool starts_with(size_t at, const char* text, size_t length) const {
    return has(at, length) && std::memcmp(bytes_.data() + at, text, length) == 0;
  }
  std::span<const std::byte> part(size_t at, size_t count) const { return bytes_.subspan(at, count); }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace actmatch
