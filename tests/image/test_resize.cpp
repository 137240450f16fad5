#include <gtest/gtest.h>

#include "engine/image/preprocess.h"
#include "engine/image/resize.h"
#include "tests/image/image_data.h"

namespace actmatch::image_tests {
namespace {

Image part_of(const Image& image, int width, int height) {
  Image out{width, height, {}};
  for (int y = 0; y < height; ++y) out.rgb.insert(out.rgb.end(), image.pixel(0, y), image.pixel(0, y) + 3 * width);
  return out;
}

// The sizes of CASES in make_images.py, in its order.
constexpr std::pair<int, int> kCases[] = {{60, 60}, {60, 41}, {41, 60}, {7, 9},  {5, 5}, {30, 29},
                                          {19, 38}, {60, 17}, {33, 44}, {8, 11}, {1, 2}, {3, 1}};

TEST(Resize, FitsAsTorchvisionDoes) {
  const Image noise = read_image(data_path("noise.png"));
  const Preprocess preset = preprocess_preset("imagenet");
  for (const auto& [file, size, cases] : {std::tuple{"fit7.npy", 7, size_t{12}}, {"fit32.npy", 32, size_t{3}}}) {
    const std::vector<int64_t> golden = golden_values(file);
    const size_t each = static_cast<size_t>(size) * static_cast<size_t>(size) * 3;
    ASSERT_EQ(golden.size(), each * cases);
    for (size_t k = 0; k < cases; ++k) {
      const auto [w, h] = kCases[k];
      const Image fitted = fit_image(part_of(noise, w, h), preset, size, size);
      for (size_t i = 0; i < each; ++i) ASSERT_EQ(fitted.rgb[i], golden[k * each + i]) << w << "x" << h << " to " << size << ", byte " << i;
    }
  }
}

TEST(Resize, EqualsPil) {
  const Image noise = read_image(data_path("noise.png"));
  EXPECT_EQ(difference(resize(noise, 20, 9), golden_image("stretch_20x9.npy")).largest, 0);
  EXPECT_EQ(difference(resize(noise, 90, 70), golden_image("stretch_90x70.npy")).largest, 0);
  EXPECT_EQ(difference(resize(noise, 20, 8, Interpolation::kNearest), golden_image("nearest_20x8.npy")).largest, 0);
  EXPECT_EQ(difference(resize(noise, 64, 80, Interpolation::kNearest), golden_image("nearest_64x80.npy")).largest, 0);
}

TEST(Resize, APartEqualsThatPartOfTheWhole) {
  const Image noise = read_image(data_path("noise.png"));
  for (const Interpolation interpolation : {Interpolation::kBilinear, Interpolation::kNearest}) {
    const Image whole = resize(noise, 37, 83, interpolation);
    const Image part = resize_part(noise, 37, 83, 5, 50, 20, 33, interpolation);
    for (int y = 0; y < part.height; ++y)
      for (int x = 0; x < part.width; ++x)
        for (int c = 0; c < 3; ++c) ASSERT_EQ(part.pixel(x, y)[c], whole.pixel(x + 5, y + 50)[c]) << x << "," << y;
  }
}

TEST(Resize, ConstantStaysConstant) {
  // The integer weights of a pixel need not add up to exactly one; the sum's rounding must hide that.
  Image grey{47, 31, std::vector<uint8_t>(47 * 31 * 3, 255)};
  const Image small = resize(grey, 13, 11);
  for (uint8_t v : small.rgb) ASSERT_EQ(v, 255);
}

TEST(Resize, ExtremeProportionsCostNothing) {
  // The whole resized picture would have 256 x 4 million pixels; only the centre is computed.
  const Image thread{1, 16384, std::vector<uint8_t>(16384 * 3, 90)};
  const Image fitted = fit_image(thread, preprocess_preset("imagenet"), 224, 224);
  EXPECT_EQ(fitted.width, 224);
  EXPECT_EQ(fitted.rgb, std::vector<uint8_t>(224 * 224 * 3, 90));
}

TEST(Fit, TakesAPictureOfTheRightSizeAsItIs) {
  const Image rgb = read_image(data_path("rgb.png"));
  Preprocess p = preprocess_preset("unit");
  EXPECT_EQ(fit_image(rgb, p, 24, 16).rgb, rgb.rgb);
  p.fit = FitMode::kNone;
  EXPECT_EQ(fit_image(rgb, p, 24, 16).rgb, rgb.rgb);
  expect_error(ErrorCode::kInvalidArgument, {"24x16", "16x24"}, [&] { fit_image(rgb, p, 16, 24); });
}

TEST(Fit, ModesAndSizes) {
  const Image noise = read_image(data_path("noise.png"));
  Preprocess p = preprocess_preset("unit");
  p.fit = FitMode::kStretch;
  EXPECT_EQ(fit_image(noise, p, 20, 9).rgb, golden_image("stretch_20x9.npy").rgb);
  p.fit = FitMode::kShortSide;
  p.short_side = 20;
  expect_error(ErrorCode::kInvalidArgument, {"unit", "short_side", "20", "21x21"}, [&] { fit_image(noise, p, 21, 21); });
  // Wide networks: the smallest scale that covers 1x the size, so a square picture loses rows above and below, no columns.
  p.short_side = 0;
  p.resize_ratio = 1;
  EXPECT_EQ(fit_image(noise, p, 40, 20).rgb, resize_part(noise, 40, 40, 0, 10, 40, 20, Interpolation::kBilinear).rgb);
  EXPECT_EQ(fit_image(noise, p, 20, 40).rgb, resize_part(noise, 40, 40, 10, 0, 20, 40, Interpolation::kBilinear).rgb);
}

}  // namespace
}  // namespace actmatch::image_tests
