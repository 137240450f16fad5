#include "engine/image/draw.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "engine/image/stb.h"

namespace actmatch {
namespace {

constexpr Colour kOutlineColour = {255, 0, 170};  // magenta: rare in photos, and visible on dark and on light
constexpr int kThickOutlineFrom = 320;

// Even steps of lightness in OKLab (.16 to .96) while the hue runs from 285 over 0 to 100 degrees, with the most chroma up to .19
// that sRGB can show.
constexpr Colour kHeatColours[] = {{13, 0, 50},    {32, 0, 69},    {53, 0, 85},     {77, 0, 96},     {103, 1, 102},  {130, 1, 104},
                                   {157, 3, 101},  {181, 28, 94},  {202, 48, 85},   {222, 69, 73},   {239, 91, 56},  {253, 114, 32},
                                   {255, 145, 51}, {255, 173, 76}, {255, 198, 105}, {255, 222, 137}, {255, 244, 177}};

size_t pixels_of(int width, int height) { return static_cast<size_t>(width) * static_cast<size_t>(height); }

int luma(const uint8_t* rgb) { return (rgb[0] * 299 + rgb[1] * 587 + rgb[2] * 114 + 500) / 1000; }

float clipped(float v) { return v >= 0 ? std::min(v, 1.0f) : 0.0f; }  // NaN fails the comparison

uint8_t to_level(float v) { return static_cast<uint8_t>(std::lround(std::clamp(v, 0.0f, 255.0f))); }

std::array<float, 3> heat_colour(float v) {
  constexpr int kLast = static_cast<int>(std::size(kHeatColours)) - 1;
  const float place = clipped(v) * static_cast<float>(kLast);
  const int below = std::min(static_cast<int>(place), kLast - 1);
  const float t = place - static_cast<float>(below);
  std::array<float, 3> out{};
  for (size_t c = 0; c < 3; ++c)
    out[c] = (1 - t) * static_cast<float>(kHeatColours[below][c]) + t * static_cast<float>(kHeatColours[below + 1][c]);
  return out;
}

std::vector<std::byte> encoded(const uint8_t* samples, int width, int height, int channels) {
  if (width < 1 || height < 1) throw Error(ErrorCode::kInvalidArgument, "a picture without pixels cannot be written as PNG");
  std::vector<std::byte> png = stb::encode_png(samples, width, height, channels);
  if (png.empty())
    throw Error(ErrorCode::kOutOfMemory,
                "no memory left to write a PNG of " + std::to_string(width) + "x" + std::to_string(height) + " pixels; free some");
  return png;
}

}  // namespace

GreyImage draw_mask(std::span<const uint8_t> mask, int width, int height) {
  ACTMATCH_CHECK(mask.size() == pixels_of(width, height), "a mask of another size");
  GreyImage out{width, height, std::vector<uint8_t>(mask.size())};
  std::transform(mask.begin(), mask.end(), out.grey.begin(), [](uint8_t m) { return m ? uint8_t{255} : uint8_t{0}; });
  return out;
}

GreyImage draw_soft_mask(std::span<const float> soft, int width, int height) {
  ACTMATCH_CHECK(soft.size() == pixels_of(width, height), "a mask of another size");
  GreyImage out{width, height, std::vector<uint8_t>(soft.size())};
  std::transform(soft.begin(), soft.end(), out.grey.begin(), [](float m) { return to_level(255 * clipped(m)); });
  return out;
}

Image draw_explanation(const Image& image, std::span<const uint8_t> mask, Colour elsewhere) {
  ACTMATCH_CHECK(mask.size() == pixels_of(image.width, image.height), "a mask of another size");
  Image out = image;
  for (size_t i = 0; i < mask.size(); ++i)
    if (!mask[i]) std::copy(elsewhere.begin(), elsewhere.end(), out.rgb.begin() + static_cast<ptrdiff_t>(3 * i));
  return out;
}

Image draw_overlay(const Image& image, std::span<const uint8_t> mask) {
  ACTMATCH_CHECK(mask.size() == pixels_of(image.width, image.height), "a mask of another size");
  const int w = image.width, h = image.height;
  const int thickness = std::min(w, h) >= kThickOutlineFrom ? 2 : 1;
  const auto set = [&](int x, int y) { return x >= 0 && y >= 0 && x < w && y < h && mask[pixels_of(w, y) + static_cast<size_t>(x)]; };
  // Within `thickness` steps, counting along the axes, of a pixel of the mask.
  const auto near_mask = [&](int x, int y) {
    for (int dy = -thickness; dy <= thickness; ++dy)
      for (int dx = -(thickness - std::abs(dy)); dx <= thickness - std::abs(dy); ++dx)
        if (set(x + dx, y + dy)) return true;
    return false;
  };
  Image out = image;
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x) {
      if (set(x, y)) continue;
      uint8_t* rgb = out.pixel(x, y);
      if (near_mask(x, y)) {
        std::copy(kOutlineColour.begin(), kOutlineColour.end(), rgb);
        continue;
      }
      const int grey = luma(rgb);
      for (int c = 0; c < 3; ++c) rgb[c] = static_cast<uint8_t>((grey * 3 + rgb[c]) / 4 * 2 / 5);  // 3/4 grey, 2/5 as bright
    }
  return out;
}

Image draw_heat(std::span<const float> soft, int width, int height) {
  ACTMATCH_CHECK(soft.size() == pixels_of(width, height), "a mask of another size");
  Image out{width, height, {}};
  out.rgb.reserve(3 * soft.size());
  for (float m : soft)
    for (float level : heat_colour(m)) out.rgb.push_back(to_level(level));
  return out;
}

Image draw_heat_over(const Image& image, std::span<const float> soft) {
  ACTMATCH_CHECK(soft.size() == pixels_of(image.width, image.height), "a mask of another size");
  Image out = image;
  for (size_t i = 0; i < soft.size(); ++i) {
    uint8_t* rgb = out.rgb.data() + 3 * i;
    const float grey = static_cast<float>(luma(rgb));
    const float opacity = 0.35f + 0.45f * clipped(soft[i]);
    const std::array<float, 3> heat = heat_colour(soft[i]);
    for (size_t c = 0; c < 3; ++c) rgb[c] = to_level((1 - opacity) * grey + opacity * heat[c]);
  }
  return out;
}

std::vector<std::byte> encode_png(const Image& image) { return encoded(image.rgb.data(), image.width, image.height, 3); }
std::vector<std::byte> encode_png(const GreyImage& image) { return encoded(image.grey.data(), image.width, image.height, 1); }

}  // namespace actmatch
