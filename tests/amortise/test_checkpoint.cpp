#include "engine/amortise/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/image/file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace actmatch::test {
namespace {

Checkpoint example() {
  return {{{"seed", "7"}, {"recipe", "{\"name\": \"mine\"}"}},
          {42, {{"parameter/w", {1.5f, -2, 3e-30f}}, {"first/w", {0, 1, 2}}, {"second/w", {}}}}};
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST(Checkpoint, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.checkpoint";
  write_checkpoint(path, example());
  const Checkpoint read = read_checkpoint(path);
  EXPECT_EQ(read.about, example().about);
  EXPECT_EQ(read.state.steps_done, 42);
  EXPECT_EQ(read.state.arrays, example().state.arrays);
}

TEST(Checkpoint, IsASafetensorsFile) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.checkpoint";
  write_checkpoint(path, example());
  const std::string file = bytes_of(path);
  uint64_t length = 0;
  for (size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(file[i]);
  ASSERT_EQ(length % 8, 0u);
  ASSERT_EQ(file.size(), 8 + length + 6 * 4);
  const auto header = nlohmann::json::parse(file.substr(8, length));
  EXPECT_EQ(header["__metadata__"]["steps_done"], "42");
  const auto& w = header["parameter/w"];
  EXPECT_EQ(w["dtype"], "F32");
  EXPECT_EQ(w["shape"], nlohmann::json({3}));
  float first = 0;
  std::memcpy(&first, file.data() + 8 + length + w["data_offsets"][0].get<size_t>(), sizeof(float));
  EXPECT_EQ(first, 1.5f);
}

TEST(Checkpoint, DamagedFilesAreRefused) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.checkpoint";
  write_checkpoint(path, example());
  const std::string whole = bytes_of(path);
  for (size_t length = 0; length < whole.size(); length += 5) {  // the last array is what a missing end takes away
    write_file_atomically(path, std::string_view(whole).substr(0, length));
    expect_error(ErrorCode::kFormat, {path, "checkpoint"}, [&] { read_checkpoint(path); });
  }
  std::string huge = whole;
  huge[7] = '\x7f';  // a header longer than any file
  write_file_atomically(path, huge);
  expect_error(ErrorCode::kFormat, {"header"}, [&] { read_checkpoint(path); });
  std::string other = whole;
  other.replace(other.find("F32"), 3, "F16");
  write_file_atomically(path, other);
  expect_error(ErrorCode::kFormat, {path}, [&] { read_checkpoint(path); });
  expect_error(ErrorCode::kNotFound, {"nowhere"}, [&] { read_checkpoint(folder / "nowhere"); });
}

}  // namespace
}  // namespace actmatch::test
