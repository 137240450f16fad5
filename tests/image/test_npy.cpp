#include "engine/image/npy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/image/file.h"
#include "tests/image/image_data.h"

namespace actmatch::image_tests {
namespace {

// A version-1 file with this header text and these data bytes.
std::vector<std::byte> npy(const std::string& header, const std::string& data, int version = 1) {
  std::string text = "\x93NUMPY";
  text += static_cast<char>(version);
  text += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) text += static_cast<char>(header.size() >> (8 * i) & 255);
  text += header + data;
  const auto view = std::as_bytes(std::span(text.data(), text.size()));
  return {view.begin(), view.end()};
}

std::string header(const std::string& descr, const std::string& shape) {
  return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
}

template <class T>
std::string raw(std::initializer_list<T> values) {
  std::string text;
  for (T v : values) text.append(reinterpret_cast<const char*>(&v), sizeof(T));
  return text;
}

template <class T>
void expect_round_trip(const Shape& shape, std::vector<T> values) {
  const Tensor tensor = Tensor::of<T>(shape, std::span<const T>(values));
  const std::vector<std::byte> bytes = encode_npy(tensor);
  const Tensor back = parse_npy(bytes, "x.npy");
  EXPECT_EQ(back.shape(), shape);
  EXPECT_EQ(std::vector<T>(back.view<T>().begin(), back.view<T>().end()), values);
  EXPECT_EQ((bytes.size() - tensor.bytes()) % 64, 0u) << "NumPy aligns the data to 64 bytes";
}

TEST(Npy, RoundTrips) {
  expect_round_trip<float>({2, 3}, {1, -2.5f, 3e-30f, 4e30f, 0, std::numeric_limits<float>::infinity()});
  expect_round_trip<float>({}, {7});
  expect_round_trip<float>({0, 4}, {});
  expect_round_trip<int64_t>({2}, {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()});
  expect_round_trip<uint8_t>({1, 1, 3}, {0, 1, 1});
}

TEST(Npy, FilesOnDisk) {
  TemporaryFolder folder;
  const std::vector<float> values = {1, 2, 3};
  write_npy(folder / "a.npy", Tensor::of<float>({3}, values));
  EXPECT_EQ(read_npy(folder / "a.npy").view<float>()[2], 3);
  expect_error(ErrorCode::kNotFound, {"b.npy"}, [&] { read_npy(folder / "b.npy"); });
}

TEST(Npy, WidensEveryType) {
  EXPECT_EQ(parse_npy(npy(header("<f8", "(2,)"), raw<double>({0.5, -3})), "x").view<float>()[1], -3);
  EXPECT_EQ(parse_npy(npy(header("|i1", "(1,)"), "\xff"), "x").view<int64_t>()[0], -1);
  EXPECT_EQ(parse_npy(npy(header("|u1", "(1,)"), "\xff"), "x").view<int64_t>()[0], 255);
  EXPECT_EQ(parse_npy(npy(header("<i2", "(1,)"), raw<int16_t>({-300})), "x").view<int64_t>()[0], -300);
  EXPECT_EQ(parse_npy(npy(header("<u2", "(1,)"), raw<uint16_t>({60000})), "x").view<int64_t>()[0], 60000);
  EXPECT_EQ(parse_npy(npy(header("<i4", "(1,)"), raw<int32_t>({-70000})), "x").view<int64_t>()[0], -70000);
  EXPECT_EQ(parse_npy(npy(header("<u4", "(1,)"), raw<uint32_t>({4000000000u})), "x").view<int64_t>()[0], 4000000000);
  EXPECT_EQ(parse_npy(npy(header("|b1", "(2,)"), std::string("\0\x02", 2)), "x").view<uint8_t>()[1], 1);
}

TEST(Npy, Halves) {
  // 1, -2, the largest, the smallest subnormal, the smallest normal, infinity, not-a-number.
  const std::string data = raw<uint16_t>({0x3C00, 0xC000, 0x7BFF, 0x0001, 0x0400, 0x7C00, 0x7E00});
  const Tensor t = parse_npy(npy(header("<f2", "(7,)"), data), "x");
  const auto v = t.view<float>();
  EXPECT_EQ(v[0], 1);
  EXPECT_EQ(v[1], -2);
  EXPECT_EQ(v[2], 65504);
  EXPECT_EQ(v[3], std::ldexp(1.0f, -24));
  EXPECT_EQ(v[4], std::ldexp(1.0f, -14));
  EXPECT_TRUE(std::isinf(v[5]));
  EXPECT_TRUE(std::isnan(v[6]));
}

TEST(Npy, HeaderVariants) {
  EXPECT_EQ(parse_npy(npy(header("<f4", "(1,)"), raw<float>({5}), 2), "x").view<float>()[0], 5);
  EXPECT_EQ(parse_npy(npy(header("<f4", "(1,)"), raw<float>({5}), 3), "x").view<float>()[0], 5);
  EXPECT_EQ(parse_npy(npy("{\"shape\":(1,1),\"fortran_order\":False,\"descr\":\"<f4\"}", raw<float>({6})), "x").shape(), (Shape{1, 1}));
}

TEST(Npy, RefusesWhatItCannotRead) {
  const auto refuse = [](const std::vector<std::byte>& bytes, ErrorCode code, const std::string& part) {
    expect_error(code, {"'x.npy'", part}, [&] { parse_npy(bytes, "x.npy"); });
  };
  const std::string four = raw<float>({1});
  refuse({}, ErrorCode::kFormat, "not a .npy");
  refuse(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", four), ErrorCode::kUnsupported, "Fortran");
  refuse(npy(header(">f4", "(1,)"), four), ErrorCode::kUnsupported, "'>f4'");
  refuse(npy(header("<c8", "(1,)"), four + four), ErrorCode::kUnsupported, "'<c8'");
  refuse(npy(header("|O", "(1,)"), four), ErrorCode::kUnsupported, "'|O'");
  refuse(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", four), ErrorCode::kUnsupported, "records");
  refuse(npy(header("<f4", "(1,)"), four, 9), ErrorCode::kUnsupported, "version 9");
  refuse(npy(header("<f4", "(2,)"), four), ErrorCode::kFormat, "4 bytes");
  refuse(npy(header("<f4", "(1,)"), four + "x"), ErrorCode::kFormat, "5 bytes");
  refuse(npy(header("<f4", "(-1,)"), four), ErrorCode::kFormat, "shape");
  refuse(npy(header("<f4", "(99999999999999999999,)"), four), ErrorCode::kFormat, "shape");
  refuse(npy(header("<f4", "(1"), four), ErrorCode::kFormat, "shape");
  refuse(npy("{'descr': '<f4', 'shape': (1,), }", four), ErrorCode::kFormat, "fortran_order");
  refuse(npy("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,), }", four), ErrorCode::kFormat, "True or False");
  refuse(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", four), ErrorCode::kFormat, "'x'");
  refuse(npy(header("<f4", "(1,)") + "rest", four), ErrorCode::kFormat, "goes on");
  std::vector<std::byte> cut = npy(header("<f4", "(1,)"), four);
  cut.resize(30);
  refuse(cut, ErrorCode::kFormat, "cut short");
  // 2^62 x 2^62 elements overflow; 2^61 do not, but no file holds them.
  expect_error(ErrorCode::kUnsupported, {"too large"},
               [&] { parse_npy(npy(header("<f4", "(4611686018427387904, 4611686018427387904)"), four), "x.npy"); });
}

}  // namespace
}  // namespace actmatch::image_tests
