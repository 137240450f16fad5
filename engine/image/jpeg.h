// The only door to libjpeg-turbo (its TurboJPEG interface).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace actmatch {

// The size in a JPEG's header; false, and why in `reason`, when it cannot be read.
bool read_jpeg_size(std::span<const std::byte> bytes, int& width, int& height, std::string& reason);

// Decodes to 8-bit RGB, the very samples that PIL and torchvision read from the file: same library, same inverse transform, same
// interpolation of colours. `components` is what inspect_picture() found; four are inks, stored inverted as Adobe does, whether the file
// says so or not. Empty, and why in `reason`, on failure. Damaged data are a failure, where PIL makes up what
// is missing: an explanation of made-up pixels explains nothing.
std::vector<uint8_t> decode_jpeg(std::span<const std::byte> bytes, int components, int& width, int& height, std::string& reason);

}  // namespace actmatch
