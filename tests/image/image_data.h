// The small pictures of tests/data/images and what PIL reads from them (made by make_images.py there).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "engine/image/decode.h"
#include "engine/image/npy.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace actmatch::image_tests {

using test::expect_error;
using test::TemporaryFolder;

inline std::string data_path(const std::string& name) { return std::string(ACTMATCH_SOURCE_DIR) + "/tests/data/images/" + name; }

inline std::vector<int64_t> golden_values(const std::string& name) {
  const Tensor t = read_npy(data_path(name));
  return {t.view<int64_t>().begin(), t.view<int64_t>().end()};
}

// A golden of shape height x width x 3.
inline Image golden_image(const std::string& name) {
  const Tensor t = read_npy(data_path(name));
  EXPECT_EQ(t.shape().size(), 3u);
  Image image{static_cast<int>(t.shape()[1]), static_cast<int>(t.shape()[0]), {}};
  for (int64_t v : t.view<int64_t>()) image.rgb.push_back(static_cast<uint8_t>(v));
  return image;
}

struct Difference {
  int largest = 0;
  double mean = 0;
};

inline Difference difference(const Image& a, const Image& b) {
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.height, b.height);
  Difference d{256, 256};
  if (a.rgb.size() != b.rgb.size() || a.rgb.empty()) return d;
  d = {};
  for (size_t i = 0; i < a.rgb.size(); ++i) {
    const int delta = std::abs(a.rgb[i] - b.rgb[i]);
    d.largest = std::max(d.largest, delta);
    d.mean += delta;
  }
  d.mean /= static_cast<double>(a.rgb.size());
  return d;
}

}  // namespace actmatch::image_tests
