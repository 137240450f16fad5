// The small pictures of tests/data/images and what PIL reads from them (made by make_images.py there).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include "engine/core/error.h"
#include "engine/image/decode.h"
#include "engine/image/npy.h"

namespace actmatch::image_tests {

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

// Runs `action` and expects an Error of this code whose message is one line and holds each of `parts`.
inline void expect_error(ErrorCode code, const std::vector<std::string>& parts, const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "no error where one about '" << parts.front() << "' belongs";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
  }
}

// A fresh folder for one test, removed with it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "actmatch-test-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) ADD_FAILURE() << "no temporary folder";
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace actmatch::image_tests
