#include "engine/image/resize.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"

namespace actmatch {
namespace {

// Weights are integers with 22 fractional bits: the sum of 8-bit samples times weights, which add up to 1, then fits 32 bits.
constexpr int kWeightBits = 22;

// For each target pixel of one axis: where its source pixels begin, how many there are, and their weights.
struct Taps {
  std::vector<int> first;
  std::vector<int> count;
  std::vector<int32_t> weights;  // stride per pixel: `widest`
  int widest = 0;
};

Taps triangle_taps(int source, int64_t target, int64_t begin, int length) {
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  const double reach = std::max(scale, 1.0);  // the triangle's half-width; never less than one source pixel
  const double per_pixel = 1.0 / reach;
  Taps taps;
  taps.widest = static_cast<int>(std::ceil(reach)) * 2 + 1;
  taps.first.resize(static_cast<size_t>(length));
  taps.count.resize(static_cast<size_t>(length));
  taps.weights.resize(static_cast<size_t>(length) * static_cast<size_t>(taps.widest));
  std::vector<double> exact(static_cast<size_t>(taps.widest));
  for (int i = 0; i < length; ++i) {
    const double centre = (static_cast<double>(begin + i) + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - reach + 0.5), 0);
    const int end = std::min(static_cast<int>(centre + reach + 0.5), source);
    const int count = end - first;
    double sum = 0;
    for (int k = 0; k < count; ++k) {
      const double distance = std::abs((k + first - centre + 0.5) * per_pixel);
      exact[static_cast<size_t>(k)] = std::max(1.0 - distance, 0.0);
      sum += exact[static_cast<size_t>(k)];
    }
    taps.first[static_cast<size_t>(i)] = first;
    taps.count[static_cast<size_t>(i)] = count;
    const double norm = 1.0 / sum;  // products by reciprocals here and above: PIL rounds so, and ties come out alike
    for (int k = 0; k < count; ++k)
      taps.weights[static_cast<size_t>(i) * static_cast<size_t>(taps.widest) + static_cast<size_t>(k)] =
          static_cast<int32_t>(exact[static_cast<size_t>(k)] * norm * (1 << kWeightBits) + 0.5);
  }
  return taps;
}

// One target pixel: the weighted sum of `count` source pixels that lie `step` bytes apart.
void blend(const uint8_t* source, size_t step, const int32_t* weights, int count, uint8_t* target) {
  int32_t sum[3] = {1 << (kWeightBits - 1), 1 << (kWeightBits - 1), 1 << (kWeightBits - 1)};
  for (int k = 0; k < count; ++k, source += step)
    for (int c = 0; c < 3; ++c) sum[c] += source[c] * weights[k];
  for (int c = 0; c < 3; ++c) target[c] = static_cast<uint8_t>(std::clamp(sum[c] >> kWeightBits, 0, 255));
}

Image bilinear(const Image& image, int64_t full_width, int64_t full_height, int64_t left, int64_t top, int width, int height) {
  const Taps across = triangle_taps(image.width, full_width, left, width);
  const Taps down = triangle_taps(image.height, full_height, top, height);
  const int first_row = down.first.front();
  const int end_row = down.first.back() + down.count.back();
  Image rows{width, end_row - first_row, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(end_row - first_row) * 3)};
  for (int y = 0; y < rows.height; ++y)
    for (int x = 0; x < width; ++x) {
      const auto i = static_cast<size_t>(x);
      blend(image.pixel(across.first[i], y + first_row), 3, &across.weights[i * static_cast<size_t>(across.widest)], across.count[i],
            rows.pixel(x, y));
    }
  Image out{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  for (int y = 0; y < height; ++y) {
    const auto i = static_cast<size_t>(y);
    for (int x = 0; x < width; ++x)
      blend(rows.pixel(x, down.first[i] - first_row), 3 * static_cast<size_t>(width), &down.weights[i * static_cast<size_t>(down.widest)],
            down.count[i], out.pixel(x, y));
  }
  return out;
}

Image nearest(const Image& image, int64_t full_width, int64_t full_height, int64_t left, int64_t top, int width, int height) {
  const auto source = [](int64_t target, int64_t full, int size) { return static_cast<int>((2 * target + 1) * size / (2 * full)); };
  Image out{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const uint8_t* from = image.pixel(source(left + x, full_width, image.width), source(top + y, full_height, image.height));
      std::copy(from, from + 3, out.pixel(x, y));
    }
  return out;
}

}  // namespace

Image resize_part(const Image& image, int64_t full_width, int64_t full_height, int64_t left, int64_t top, int width, int height,
                  Interpolation interpolation) {
  ACTMATCH_CHECK(image.width >= 1 && image.height >= 1 && width >= 1 && height >= 1, "resizing from or to nothing");
  ACTMATCH_CHECK(left >= 0 && top >= 0 && left + width <= full_width && top + height <= full_height, "the part lies outside");
  return (interpolation == Interpolation::kNearest ? nearest : bilinear)(image, full_width, full_height, left, top, width, height);
}

Image resize(const Image& image, int width, int height, Interpolation interpolation) {
  return resize_part(image, width, height, 0, 0, width, height, interpolation);
}

}  // namespace actmatch
