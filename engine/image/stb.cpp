#include "engine/image/stb.h"

#include <cstdlib>
#include <limits>
#include <memory>

namespace {

// stb asks for memory through these; the cap is set for the length of one decode. The memory is zeroed: what a damaged
// file leaves unset is then at least the same every time.
thread_local size_t largest_allowed = std::numeric_limits<size_t>::max();

void* capped_malloc(size_t size) { return size > largest_allowed ? nullptr : std::calloc(1, size); }
void* capped_realloc(void* old, size_t size) { return size > largest_allowed ? nullptr : std::realloc(old, size); }

class AllocationCap {
 public:
  explicit AllocationCap(size_t largest) { largest_allowed = largest; }
  ~AllocationCap() { largest_allowed = std::numeric_limits<size_t>::max(); }
  AllocationCap(const AllocationCap&) = delete;
  AllocationCap& operator=(const AllocationCap&) = delete;
};

}  // namespace

#define STBI_MALLOC(size) capped_malloc(size)
#define STBI_REALLOC(old, size) capped_realloc(old, size)
#define STBI_FREE(p) std::free(p)
#define STBI_MAX_DIMENSIONS 16384
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include <stb/stb_image.h>
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace actmatch::stb {
namespace {

const stbi_uc* data_of(std::span<const std::byte> bytes) { return reinterpret_cast<const stbi_uc*>(bytes.data()); }

std::string last_reason() {
  const char* text = stbi_failure_reason();
  return text ? text : "unknown";
}

bool fits(std::span<const std::byte> bytes, std::string& reason) {
  if (bytes.size() <= static_cast<size_t>(std::numeric_limits<int>::max())) return true;
  reason = "a file of more than 2 GB";
  return false;
}

template <class T>
std::vector<T> take(T* samples, int width, int height, std::string& reason) {
  const std::unique_ptr<T, decltype(&std::free)> owner(samples, &std::free);
  if (!samples) {
    reason = last_reason();
    return {};
  }
  return std::vector<T>(samples, samples + static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
}

}  // namespace

bool read_size(std::span<const std::byte> bytes, int& width, int& height, int& channels, std::string& reason) {
  if (!fits(bytes, reason)) return false;
  if (stbi_info_from_memory(data_of(bytes), static_cast<int>(bytes.size()), &width, &height, &channels)) return true;
  reason = last_reason();
  return false;
}

std::vector<uint8_t> decode_rgb8(std::span<const std::byte> bytes, size_t largest_buffer, int& width, int& height, std::string& reason) {
  if (!fits(bytes, reason)) return {};
  const AllocationCap cap(largest_buffer);
  int channels = 0;
  auto* samples = stbi_load_from_memory(data_of(bytes), static_cast<int>(bytes.size()), &width, &height, &channels, 3);
  return take(samples, width, height, reason);
}

std::vector<uint16_t> decode_rgb16(std::span<const std::byte> bytes, size_t largest_buffer, int& width, int& height, std::string& reason) {
  if (!fits(bytes, reason)) return {};
  const AllocationCap cap(largest_buffer);
  int channels = 0;
  auto* samples = stbi_load_16_from_memory(data_of(bytes), static_cast<int>(bytes.size()), &width, &height, &channels, 3);
  return take(samples, width, height, reason);
}

std::vector<std::byte> encode_png(const uint8_t* samples, int width, int height, int channels) {
  int size = 0;
  unsigned char* png = stbi_write_png_to_mem(samples, width * channels, width, height, channels, &size);
  if (!png) return {};
  const auto* begin = reinterpret_cast<const std::byte*>(png);
  std::vector<std::byte> out(begin, begin + size);
  std::free(png);
  return out;
}

}  // namespace actmatch::stb
