// The only door to stb_image and stb_image_write. Both are compiled into stb.cpp with internal linkage, so that a program which
// links actmatch may carry an stb of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace actmatch::stb {

// Size and channel count that stb reads from the header; false, and why in `reason`, when it does not read this picture.
bool read_size(std::span<const std::byte> bytes, int& width, int& height, int& channels, std::string& reason);

// Decoded samples, width*height*3 of them; empty, and why in `reason`, on failure. No single buffer that decoding asks for may
// exceed `largest_buffer` bytes, whatever the file claims (a few kB of zlib data can expand to GB).
std::vector<uint8_t> decode_rgb8(std::span<const std::byte> bytes, size_t largest_buffer, int& width, int& height, std::string& reason);
std::vector<uint16_t> decode_rgb16(std::span<const std::byte> bytes, size_t largest_buffer, int& width, int& height, std::string& reason);

// A PNG of width*height*channels 8-bit samples (1 channel: grey, 3: RGB); empty when memory runs out.
std::vector<std::byte> encode_png(const uint8_t* samples, int width, int height, int channels);

}  // namespace actmatch::stb
