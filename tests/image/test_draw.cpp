#include "engine/image/draw.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/image/image_data.h"

namespace actmatch::image_tests {
namespace {

bool is_colour(const uint8_t* rgb, Colour c) { return rgb[0] == c[0] && rgb[1] == c[1] && rgb[2] == c[2]; }

TEST(Draw, PngRoundTrip) {
  const Image noise = read_image(data_path("noise.png"));
  EXPECT_EQ(decode_image(encode_png(noise), "x").rgb, noise.rgb);
  const GreyImage grey{3, 1, {0, 77, 255}};
  EXPECT_EQ(decode_image(encode_png(grey), "x").rgb, (std::vector<uint8_t>{0, 0, 0, 77, 77, 77, 255, 255, 255}));
  expect_error(ErrorCode::kInvalidArgument, {"without pixels"}, [] { encode_png(Image{}); });
}

TEST(Draw, Masks) {
  EXPECT_EQ(draw_mask(std::vector<uint8_t>{0, 1, 7, 0}, 2, 2).grey, (std::vector<uint8_t>{0, 255, 255, 0}));
  EXPECT_EQ(draw_soft_mask(std::vector<float>{0, 0.5f, 1, 2, -1, std::nanf("")}, 6, 1).grey,
            (std::vector<uint8_t>{0, 128, 255, 255, 0, 0}));
}

TEST(Draw, ExplanationKeepsTheMaskAlone) {
  const Image image{2, 1, {1, 2, 3, 4, 5, 6}};
  EXPECT_EQ(draw_explanation(image, std::vector<uint8_t>{1, 0}).rgb, (std::vector<uint8_t>{1, 2, 3, 124, 116, 104}));
  EXPECT_EQ(draw_explanation(image, std::vector<uint8_t>{0, 1}, {9, 8, 7}).rgb, (std::vector<uint8_t>{9, 8, 7, 4, 5, 6}));
}

TEST(Draw, OverlayDarkensOutsideAndDrawsTheOutline) {
  for (const auto& [side, thickness] : {std::pair{40, 1}, {320, 2}}) {
    Image image{side, side, {}};
    for (int i = 0; i < side * side; ++i) image.rgb.insert(image.rgb.end(), {200, 40, 90});
    std::vector<uint8_t> mask(static_cast<size_t>(side * side));
    const int low = side / 4, high = side / 2;  // the mask is the square [low, high)
    for (int y = low; y < high; ++y)
      for (int x = low; x < high; ++x) mask[static_cast<size_t>(y * side + x)] = 1;
    const Image overlay = draw_overlay(image, mask);
    const Colour magenta = {255, 0, 170};
    EXPECT_TRUE(is_colour(overlay.pixel(low, low), {200, 40, 90})) << "the mask's own pixels stay as they are";
    EXPECT_TRUE(is_colour(overlay.pixel(high - 1, low), {200, 40, 90}));
    for (int d = 1; d <= thickness; ++d) EXPECT_TRUE(is_colour(overlay.pixel(low - d, low + 2), magenta)) << d;
    const uint8_t* outside = overlay.pixel(low - thickness - 1, low + 2);
    EXPECT_FALSE(is_colour(outside, magenta));
    EXPECT_LT(outside[0], 100) << "darker";
    EXPECT_LT(outside[0] - outside[1], (200 - 40) / 4) << "less colour";
  }
}

TEST(Draw, AMaskOfEverythingHasNoOutline) {
  const Image noise = read_image(data_path("noise.png"));
  EXPECT_EQ(draw_overlay(noise, std::vector<uint8_t>(60 * 60, 1)).rgb, noise.rgb);
}

// CIE lightness (0..100) of an sRGB colour.
double lightness(const uint8_t* rgb) {
  const double weights[] = {0.2126, 0.7152, 0.0722};
  double luminance = 0;
  for (int c = 0; c < 3; ++c) {
    const double v = rgb[c] / 255.0;
    luminance += weights[c] * (v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4));
  }
  return luminance > 216.0 / 24389 ? 116 * std::cbrt(luminance) - 16 : luminance * 24389 / 27;
}

TEST(Draw, HeatGrowsEvenlyLighter) {
  std::vector<float> ramp;
  for (int i = 0; i <= 64; ++i) ramp.push_back(static_cast<float>(i) / 64);
  const Image heat = draw_heat(ramp, 65, 1);
  EXPECT_LT(lightness(heat.pixel(0, 0)), 8);
  EXPECT_GT(lightness(heat.pixel(64, 0)), 92);
  // Even steps over 16 shades: 5.5 each on average; the colours were spaced in OKLab, whose lightness bends against CIE's by a third.
  for (int i = 0; i + 4 <= 64; i += 4) {
    const double step = lightness(heat.pixel(i + 4, 0)) - lightness(heat.pixel(i, 0));
    EXPECT_GT(step, 2.5) << i;
    EXPECT_LT(step, 9) << i;
  }
  const Image wild = draw_heat(std::vector<float>{-1, 2, std::nanf("")}, 3, 1);
  EXPECT_TRUE(std::equal(wild.pixel(0, 0), wild.pixel(0, 0) + 3, heat.pixel(0, 0)));
  EXPECT_TRUE(std::equal(wild.pixel(1, 0), wild.pixel(1, 0) + 3, heat.pixel(64, 0)));
  EXPECT_TRUE(std::equal(wild.pixel(2, 0), wild.pixel(2, 0) + 3, heat.pixel(0, 0)));
}

TEST(Draw, HeatOverThePhotoShowsBoth) {
  const Image two{2, 1, {0, 0, 0, 255, 255, 255}};
  const Image weak = draw_heat_over(two, std::vector<float>{0, 0});
  EXPECT_GT(weak.pixel(1, 0)[1] - weak.pixel(0, 0)[1], 150) << "the photo shows through where the mask is weak";
  const Image strong = draw_heat_over(two, std::vector<float>{1, 1});
  EXPECT_GT(strong.pixel(0, 0)[0], 180) << "the heat prevails where the mask is strong";
  EXPECT_LT(strong.pixel(0, 0)[2], strong.pixel(0, 0)[0]);
}

}  // namespace
}  // namespace actmatch::image_tests
