#include "engine/image/jpeg.h"

#include <turbojpeg.h>

#include <memory>
#include <new>
#include <type_traits>

namespace actmatch {
namespace {

using Decompressor = std::unique_ptr<std::remove_pointer_t<tjhandle>, int (*)(tjhandle)>;

const unsigned char* data_of(std::span<const std::byte> bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

// Opens a decompressor that has read the header.
Decompressor open(std::span<const std::byte> bytes, int& width, int& height, std::string& reason) {
  Decompressor decompressor(tjInitDecompress(), &tjDestroy);
  if (!decompressor) throw std::bad_alloc();
  int subsampling = 0, colours = 0;
  width = height = 0;
  // Kinds of subsampling that TurboJPEG has no name for are an error here, after the size was read, and are decoded all the same.
  if (tjDecompressHeader3(decompressor.get(), data_of(bytes), bytes.size(), &width, &height, &subsampling, &colours) != 0 &&
      (width < 1 || height < 1)) {
    reason = tjGetErrorStr2(decompressor.get());
    return {nullptr, &tjDestroy};
  }
  return decompressor;
}

// a * b / 255, rounded to the nearest.
unsigned times(unsigned a, unsigned b) {
  const unsigned t = a * b + 128;
  return ((t >> 8) + t) >> 8;
}

// Inverted inks (255: none) to RGB in place of the first three of every four samples, packed.
void inks_to_rgb(std::vector<uint8_t>& samples) {
  for (size_t i = 0; i < samples.size() / 4; ++i) {
    const unsigned light = samples[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) samples[3 * i + c] = static_cast<uint8_t>(light - times(255u - samples[4 * i + c], light));
  }
  samples.resize(samples.size() / 4 * 3);
}

}  // namespace

bool read_jpeg_size(std::span<const std::byte> bytes, int& width, int& height, std::string& reason) {
  return open(bytes, width, height, reason) != nullptr;
}

std::vector<uint8_t> decode_jpeg(std::span<const std::byte> bytes, int components, int& width, int& height, std::string& reason) {
  const Decompressor decompressor = open(bytes, width, height, reason);
  if (!decompressor) return {};
  const bool inks = components == 4;
  std::vector<uint8_t> samples(static_cast<size_t>(width) * static_cast<size_t>(height) * (inks ? 4 : 3));
  // Limited scans: a small progressive file can ask for as many passes over the picture as it has scans. Stopping at warnings:
  // libjpeg-turbo fills in what damaged data lack and calls that a warning, and a warning before a failure makes the failure look like one
  // too.
  if (tjDecompress2(decompressor.get(), data_of(bytes), bytes.size(), samples.data(), width, 0, height, inks ? TJPF_CMYK : TJPF_RGB,
                    TJFLAG_LIMITSCANS | TJFLAG_STOPONWARNING) != 0) {
    reason = tjGetErrorStr2(decompressor.get());
    return {};
  }
  if (inks) inks_to_rgb(samples);
  return samples;
}

}  // namespace actmatch
