#include "engine/image/preprocess.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/image/image_data.h"

namespace actmatch::image_tests {
namespace {

const Image kOne{1, 1, {200, 100, 50}};  // R, G, B

TEST(Preprocess, Presets) {
  const std::vector<std::pair<const char*, std::array<double, 3>>> expected = {
      {"imagenet", {(200 / 255.0 - 0.485) / 0.229, (100 / 255.0 - 0.456) / 0.224, (50 / 255.0 - 0.406) / 0.225}},
      {"tf", {200 / 127.5 - 1, 100 / 127.5 - 1, 50 / 127.5 - 1}},
      {"caffe", {50 - 103.939, 100 - 116.779, 200 - 123.68}},
      {"unit", {200 / 255.0, 100 / 255.0, 50 / 255.0}},
      {"raw", {200, 100, 50}},
  };
  ASSERT_EQ(expected.size(), preprocess_preset_names().size());
  for (const auto& [name, values] : expected) {
    const Preprocess p = preprocess_preset(name);
    const std::vector<float> network = to_network(kOne, p, 3);
    const std::array<double, 3> colour = network_colour(p, 3, {200, 100, 50});
    for (size_t c = 0; c < 3; ++c) {
      // Scale, offset, product and sum are rounded to float once each: 4 half-ulps of the largest magnitude met, 200.
      const double tolerance = 4 * 6e-8 * std::max(4.0, std::abs(values[c]) + 130);
      EXPECT_NEAR(network[c], values[c], tolerance) << name;
      EXPECT_NEAR(colour[c], values[c], tolerance) << name;
    }
  }
  expect_error(ErrorCode::kInvalidArgument, {"'keras'", "imagenet", "tf", "caffe", "unit", "raw"}, [] { preprocess_preset("keras"); });
}

TEST(Preprocess, PlanesAreChannelsFirst) {
  const Image two{2, 1, {1, 2, 3, 4, 5, 6}};
  EXPECT_EQ(to_network(two, preprocess_preset("raw"), 3), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  Preprocess bgr = preprocess_preset("raw");
  bgr.bgr = true;
  EXPECT_EQ(to_network(two, bgr, 3), (std::vector<float>{3, 6, 2, 5, 1, 4}));
}

TEST(Preprocess, GreyIsPilsBrightness) {
  const Image noise = read_image(data_path("noise.png"));
  const std::vector<int64_t> golden = golden_values("luma.npy");
  const std::vector<float> grey = to_network(noise, preprocess_preset("raw"), 1);
  ASSERT_EQ(grey.size(), golden.size());
  for (size_t i = 0; i < grey.size(); ++i) ASSERT_EQ(grey[i], static_cast<float>(golden[i])) << i;
}

TEST(Preprocess, GreyNetworks) {
  const Preprocess mnist = preprocess_from_json(R"({"channel_order": "GREY", "mean": [0.1307], "std": [0.3081]})", "mnist.json");
  const double luma = (200 * 19595 + 100 * 38470 + 50 * 7471 + 0x8000) >> 16;
  const double expected = (luma / 255 - 0.1307) / 0.3081;
  EXPECT_NEAR(to_network(kOne, mnist, 1).at(0), expected, 1e-6);  // four float roundings of values up to 3
  const std::vector<float> three = to_network(kOne, mnist, 3);
  EXPECT_EQ(three[0], three[1]);
  EXPECT_EQ(three[0], three[2]);
  // The colour helper does not round the brightness: up to half a level apart.
  EXPECT_NEAR(network_colour(mnist, 1, {200, 100, 50})[0], expected, 0.5 / 255 / 0.3081);
  expect_error(ErrorCode::kInvalidArgument, {"'imagenet'", "GREY"}, [] { to_network(kOne, preprocess_preset("imagenet"), 1); });
  expect_error(ErrorCode::kUnsupported, {"4 channels"}, [] { to_network(kOne, preprocess_preset("raw"), 4); });
}

TEST(Preprocess, FromNetworkUndoesToNetwork) {
  Image ramp{256, 1, {}};
  for (int i = 0; i < 256; ++i)
    for (int v : {i, 255 - i, (i * 7) % 256}) ramp.rgb.push_back(static_cast<uint8_t>(v));
  for (const std::string& name : preprocess_preset_names()) {
    const Preprocess p = preprocess_preset(name);
    EXPECT_EQ(from_network(to_network(ramp, p, 3), p, 3, 256, 1).rgb, ramp.rgb) << name;
  }
  const std::vector<float> wild = {-1e9f, 1e9f, std::nanf("")};
  EXPECT_EQ(from_network(wild, preprocess_preset("unit"), 3, 1, 1).rgb, (std::vector<uint8_t>{0, 255, 0}));
  const std::vector<float> grey = {0.6f};
  EXPECT_EQ(from_network(grey, preprocess_preset("unit"), 1, 1, 1).rgb, (std::vector<uint8_t>{153, 153, 153}));
}

TEST(PreprocessJson, RoundTrip) {
  std::vector<Preprocess> all;
  for (const std::string& name : preprocess_preset_names()) all.push_back(preprocess_preset(name));
  all.push_back(preprocess_from_json(R"({"channel_order":"BGR","scale":[0.1,0.2,0.3],"offset":[-1,2e-3,3],"resize":"stretch",
      "interpolation":"nearest"})",
                                     "a"));
  all.push_back(preprocess_from_json(R"({"channel_order":"GREY","scale":[0.00392156862745098]})", "a"));
  all.push_back(preprocess_from_json(R"({"preset":"tf","short_side":232,"crop":"center"})", "a"));
  all.push_back(preprocess_from_json(R"({"preset":"caffe","resize":"none"})", "a"));
  all.push_back(preprocess_from_json(R"({"preset":"caffe","resize":"short-side","resize_ratio":1.25})", "a"));
  for (const Preprocess& p : all) {
    const std::string text = preprocess_to_json(p);
    const Preprocess q = preprocess_from_json(text, p.name);
    EXPECT_EQ(q.name, p.name);
    EXPECT_EQ(q.bgr, p.bgr) << text;
    EXPECT_EQ(q.grey, p.grey) << text;
    EXPECT_EQ(q.scale, p.scale) << text;
    EXPECT_EQ(q.offset, p.offset) << text;
    EXPECT_EQ(q.fit, p.fit) << text;
    EXPECT_EQ(q.short_side, p.short_side) << text;
    EXPECT_EQ(q.interpolation, p.interpolation) << text;
    EXPECT_EQ(q.resize_ratio, p.resize_ratio) << text;
  }
  EXPECT_EQ(all[5].fit, FitMode::kStretch);
  EXPECT_EQ(all[5].interpolation, Interpolation::kNearest);
  EXPECT_TRUE(all[5].bgr);
  EXPECT_EQ(all[7].short_side, 232);
}

TEST(PreprocessJson, MeanAndStdAreThePreset) {
  const Preprocess p = preprocess_from_json(R"({"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]})", "a");
  EXPECT_EQ(p.scale, preprocess_preset("imagenet").scale);
  EXPECT_EQ(p.offset, preprocess_preset("imagenet").offset);
}

TEST(PreprocessJson, ErrorsNameTheFileAndTheCure) {
  const auto refuse = [](const char* text, ErrorCode code, const std::string& part) {
    expect_error(code, {"'p.json'", part}, [&] { preprocess_from_json(text, "p.json"); });
  };
  refuse("{", ErrorCode::kFormat, "not JSON");
  refuse("[1]", ErrorCode::kFormat, "not a JSON object");
  refuse("{}", ErrorCode::kFormat, "preset");
  refuse(R"({"preset":"imagenet","sclae":[1]})", ErrorCode::kFormat, "sclae");
  refuse(R"({"preset":"keras"})", ErrorCode::kFormat, "imagenet");
  refuse(R"({"preset":"tf","scale":[1]})", ErrorCode::kFormat, "scale");
  refuse(R"({"mean":[0.5]})", ErrorCode::kFormat, "both");
  refuse(R"({"mean":[0.5],"std":[0.5],"scale":[1]})", ErrorCode::kFormat, "one pair");
  refuse(R"({"mean":[0.5],"std":[0]})", ErrorCode::kInvalidArgument, "std");
  refuse(R"({"scale":[1,2]})", ErrorCode::kInvalidArgument, "scale");
  refuse(R"({"scale":[0]})", ErrorCode::kInvalidArgument, "scale");
  refuse(R"({"scale":["1"]})", ErrorCode::kInvalidArgument, "scale");
  refuse(R"({"scale":[1e30]})", ErrorCode::kInvalidArgument, "scale");
  refuse(R"({"scale":[1,1,1],"channel_order":"GREY"})", ErrorCode::kInvalidArgument, "one number");
  refuse(R"({"scale":[1],"channel_order":"YUV"})", ErrorCode::kFormat, "BGR");
  refuse(R"({"preset":"tf","resize_ratio":0.5})", ErrorCode::kInvalidArgument, "resize_ratio");
  refuse(R"({"preset":"tf","short_side":2.5})", ErrorCode::kInvalidArgument, "short_side");
  refuse(R"({"preset":"tf","crop":"corner"})", ErrorCode::kFormat, "center");
  refuse(R"({"preset":"tf","interpolation":3})", ErrorCode::kFormat, "nearest");
}

}  // namespace
}  // namespace actmatch::image_tests
