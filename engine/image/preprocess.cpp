#include "engine/image/preprocess.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"

namespace actmatch {
namespace {

// Weights of red, green and blue in PIL's brightness, in units of 1/65536.
constexpr std::array<int, 3> kLuma = {19595, 38470, 7471};

bool is_uniform(const std::array<float, 3>& v) { return v[0] == v[1] && v[1] == v[2]; }

void check_channels(const Preprocess& p, int channels) {
  if (channels != 1 && channels != 3)
    throw Error(ErrorCode::kUnsupported, "the network takes " + std::to_string(channels) + " channels; pictures have 1 or 3");
  if (channels == 1 && !p.grey && !(is_uniform(p.scale) && is_uniform(p.offset)))
    throw Error(
        ErrorCode::kInvalidArgument,
        "the preprocessing '" + p.name + "' is for three channels and the network takes one; give JSON with \"channel_order\": \"GREY\"");
}

bool uses_luma(const Preprocess& p, int channels) { return p.grey || channels == 1; }

// Which of R, G, B the network's channel c is.
size_t colour_of(const Preprocess& p, int c) { return static_cast<size_t>(p.bgr ? 2 - c : c); }

// Scale and offset of channel c; a grey network has one pair for all.
size_t pair_of(const Preprocess& p, int c) { return p.grey ? 0 : static_cast<size_t>(c); }

// Python's round(), with halves to the even neighbour: torchvision rounds the crop's corner so.
int64_t round_half_even(double v) { return static_cast<int64_t>(std::nearbyint(v)); }

}  // namespace

FitGeometry fit_geometry(int64_t image_width, int64_t image_height, const Preprocess& p, int width, int height) {
  ACTMATCH_CHECK(width >= 1 && height >= 1, "a network without pixels");
  if (image_width == width && image_height == height) return {width, height, 0, 0};
  if (p.fit == FitMode::kNone)
    throw Error(ErrorCode::kInvalidArgument, "the picture has " + std::to_string(image_width) + "x" + std::to_string(image_height) +
                                                 " pixels and the network takes " + std::to_string(width) + "x" + std::to_string(height) +
                                                 "; resize it, or choose another \"resize\" than \"none\"");
  if (p.fit == FitMode::kStretch) return {width, height, 0, 0};

  const int least = std::min(width, height);
  if (p.short_side > 0 && p.short_side < least)
    throw Error(ErrorCode::kInvalidArgument, "the preprocessing '" + p.name + "' resizes the short side to " +
                                                 std::to_string(p.short_side) + " pixels and the network takes " + std::to_string(width) +
                                                 "x" + std::to_string(height) + "; raise \"short_side\"");
  // The box to cover. The side that limits gets exactly the box's length, the other one is rounded down (torchvision's int()).
  const double ratio = p.short_side > 0 ? static_cast<double>(p.short_side) / least : p.resize_ratio;
  const int64_t box_width = std::max<int64_t>(width, std::llround(width * ratio));
  const int64_t box_height = std::max<int64_t>(height, std::llround(height * ratio));
  FitGeometry fit{box_width, box_height, 0, 0};
  if (box_width * image_height >= box_height * image_width)
    fit.full_height = box_width * image_height / image_width;
  else
    fit.full_width = box_height * image_width / image_height;
  fit.left = round_half_even(static_cast<double>(fit.full_width - width) / 2);
  fit.top = round_half_even(static_cast<double>(fit.full_height - height) / 2);
  return fit;
}

Image fit_image(const Image& image, const Preprocess& p, int width, int height) {
  const FitGeometry fit = fit_geometry(image.width, image.height, p, width, height);
  if (image.width == width && image.height == height) return image;
  return resize_part(image, fit.full_width, fit.full_height, fit.left, fit.top, width, height, p.interpolation);
}

std::vector<uint8_t> fit_boxes(std::span<const std::array<double, 4>> boxes, int64_t image_width, int64_t image_height, const Preprocess& p,
                               int width, int height) {
  const FitGeometry fit = fit_geometry(image_width, image_height, p, width, height);
  const double across = static_cast<double>(fit.full_width) / static_cast<double>(image_width);
  const double down = static_cast<double>(fit.full_height) / static_cast<double>(image_height);
  std::vector<uint8_t> inside(static_cast<size_t>(width) * static_cast<size_t>(height));
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      // The pixel's centre in the stored picture.
      const double u = (x + 0.5 + static_cast<double>(fit.left)) / across, v = (y + 0.5 + static_cast<double>(fit.top)) / down;
      for (const auto& box : boxes)
        if (u >= box[0] && u < box[2] && v >= box[1] && v < box[3])
          inside[static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)] = 1;
    }
  return inside;
}

std::vector<float> to_network(const Image& fitted, const Preprocess& p, int channels) {
  check_channels(p, channels);
  const size_t plane = static_cast<size_t>(fitted.width) * static_cast<size_t>(fitted.height);
  std::vector<float> values(plane * static_cast<size_t>(channels));
  for (int c = 0; c < channels; ++c) {
    const float scale = p.scale[pair_of(p, c)], offset = p.offset[pair_of(p, c)];
    const size_t colour = colour_of(p, c);
    float* out = values.data() + plane * static_cast<size_t>(c);
    for (size_t i = 0; i < plane; ++i) {
      const uint8_t* rgb = fitted.rgb.data() + 3 * i;
      const int level = uses_luma(p, channels) ? (rgb[0] * kLuma[0] + rgb[1] * kLuma[1] + rgb[2] * kLuma[2] + 0x8000) >> 16 : rgb[colour];
      out[i] = static_cast<float>(level) * scale + offset;
    }
  }
  return values;
}

Image from_network(std::span<const float> values, const Preprocess& p, int channels, int width, int height) {
  check_channels(p, channels);
  const size_t plane = static_cast<size_t>(width) * static_cast<size_t>(height);
  ACTMATCH_CHECK(values.size() == plane * static_cast<size_t>(channels), "a network input of another size");
  Image image{width, height, std::vector<uint8_t>(plane * 3)};
  for (int k = 0; k < 3; ++k) {
    const int c = channels == 1 ? 0 : k;
    const float scale = p.scale[pair_of(p, c)], offset = p.offset[pair_of(p, c)];
    const size_t colour = channels == 1 ? static_cast<size_t>(k) : colour_of(p, c);
    for (size_t i = 0; i < plane; ++i) {
      const float level = (values[plane * static_cast<size_t>(c) + i] - offset) / scale;
      image.rgb[3 * i + colour] = static_cast<uint8_t>(std::isnan(level) ? 0 : std::lround(std::clamp(level, 0.0f, 255.0f)));
    }
  }
  return image;
}

std::array<double, 3> network_colour(const Preprocess& p, int channels, const std::array<double, 3>& rgb) {
  check_channels(p, channels);
  const double luma = (kLuma[0] * rgb[0] + kLuma[1] * rgb[1] + kLuma[2] * rgb[2]) / 65536;
  std::array<double, 3> out{};
  for (int c = 0; c < 3; ++c) {
    const double level = uses_luma(p, channels) ? luma : rgb[colour_of(p, c)];
    out[static_cast<size_t>(c)] = level * static_cast<double>(p.scale[pair_of(p, c)]) + static_cast<double>(p.offset[pair_of(p, c)]);
  }
  return out;
}

}  // namespace actmatch
