#include <gtest/gtest.h>

#include <cstring>

#include "engine/image/draw.h"
#include "engine/image/exif.h"
#include "engine/image/file.h"
#include "tests/image/image_data.h"

namespace actmatch::image_tests {
namespace {

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto view = std::as_bytes(std::span(text.data(), text.size()));
  return {view.begin(), view.end()};
}

Image decode_text(const std::string& text) { return decode_image(bytes_of(text), "text"); }

class ExactFile : public testing::TestWithParam<const char*> {};
TEST_P(ExactFile, EqualsWhatPilReads) {
  const std::string name = GetParam();
  const Image image = read_image(data_path(name));
  EXPECT_EQ(difference(image, golden_image(name + ".npy")).largest, 0);
}
INSTANTIATE_TEST_SUITE_P(Decode, ExactFile,
                         testing::Values("rgb.png", "grey.png", "grey_alpha.png", "rgba.png", "palette.png", "palette_transparent.png",
                                         "bilevel.png", "rgb16.png", "grey16.png", "rgb.bmp", "palette.bmp", "bilevel.bmp", "palette.gif",
                                         "animated.gif"));
INSTANTIATE_TEST_SUITE_P(DecodeJpeg, ExactFile,  // the same library as PIL's with the same settings, so the same samples
                         testing::Values("baseline.jpg", "subsampled.jpg", "subsampled_3x1.jpg", "progressive.jpg", "grey.jpg",
                                         "orientation6_little.jpg", "orientation8_big.jpg", "cmyk.jpg", "ycck.jpg"));

TEST(Decode, AppliesEveryOrientation) {
  const Image upright = golden_image("rgb.png.npy");
  for (int o = 1; o <= 8; ++o)
    EXPECT_EQ(difference(read_image(data_path("orientation" + std::to_string(o) + ".png")), upright).largest, 0) << "orientation " << o;
}

TEST(Decode, IgnoresDamagedOrientationNotes) {
  const auto orientation = [](std::string tiff) { return exif_orientation(bytes_of(tiff)); };
  const std::string good("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", 26);
  EXPECT_EQ(orientation(good), 6);
  EXPECT_EQ(orientation(""), 1);
  EXPECT_EQ(orientation("II*"), 1);
  EXPECT_EQ(orientation("XX" + good.substr(2)), 1);
  EXPECT_EQ(orientation(good.substr(0, 17)), 1) << "an entry that is cut";
  std::string bad = good;
  bad[18] = 9;
  EXPECT_EQ(orientation(bad), 1) << "a value over 8";
  bad = good;
  bad[12] = 4;
  EXPECT_EQ(orientation(bad), 1) << "another type";
  bad = good;
  std::memcpy(bad.data() + 4, "\xff\xff\xff\xff", 4);
  EXPECT_EQ(orientation(bad), 1) << "a directory outside";
}

TEST(Decode, ReadsEveryKindOfPnm) {
  const std::vector<uint8_t> expected = {0, 0, 0, 255, 255, 255};
  EXPECT_EQ(decode_text("P1\n# a comment\n2 1\n10").rgb, expected);
  EXPECT_EQ(decode_text("P2 2 1 15\n0 15\n").rgb, expected);
  EXPECT_EQ(decode_text("P3 2 1 1 0 0 0 1 1 1").rgb, expected);
  EXPECT_EQ(decode_text(std::string("P4 2 1\n\x80", 8)).rgb, expected);
  EXPECT_EQ(decode_text(std::string("P5 2 1 255\n\0\xff", 13)).rgb, expected);
  EXPECT_EQ(decode_text(std::string("P6 2 1 65535\n\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff", 25)).rgb, expected);
  EXPECT_EQ(decode_text("P2 1 1 100 33").rgb, (std::vector<uint8_t>{84, 84, 84})) << "round(255 * .33)";
  const Image rows = decode_text(std::string("P4 9 2\n\xff\x80\0\0", 11));  // rows begin on a byte
  EXPECT_EQ(rows.pixel(8, 0)[0], 0);
  EXPECT_EQ(rows.pixel(0, 1)[0], 255);
}

TEST(Decode, RefusesDamagedPnm) {
  for (const char* text :
       {"P5 2 1 255\n1", "P2 2 1 255 1", "P1 2 1 1", "P2 2", "P3 1 1 255 1 x 3", "P6 0 4 255\n", "P5 1 1 0\n1", "P5 1 1 70000\n1"})
    expect_error(ErrorCode::kFormat, {"'text'", "PNM"}, [&] { decode_text(text); });
}

// Every prefix of a file is a file that was cut short. The last bytes of some formats carry no pixels: PNG's end marker counts, since
// its chunks are checked, the bytes behind the last row of the others do not.
class CutFile : public testing::TestWithParam<const char*> {};
TEST_P(CutFile, NeverPassesForWhole) {
  const std::string name = GetParam();
  const std::vector<std::byte> whole = read_file(data_path(name));
  const size_t harmless = name.ends_with(".gif") ? 1 : 0;
  for (size_t size = 0; size + harmless < whole.size(); ++size) {
    try {
      decode_image(std::span(whole).first(size), name);
      ADD_FAILURE() << name << " cut to " << size << " of " << whole.size() << " bytes was read as if whole";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("'" + name + "'"), std::string::npos) << error.what();
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Decode, CutFile,
                         testing::Values("rgb.png", "grey16.png", "baseline.jpg", "progressive.jpg", "cmyk.jpg", "grey.jpg", "rgb.bmp",
                                         "palette.bmp", "palette.gif"));

TEST(Decode, FindsChangedPngBytes) {
  std::vector<std::byte> png = read_file(data_path("rgb.png"));
  png[png.size() - 30] ^= std::byte{4};
  expect_error(ErrorCode::kFormat, {"'x.png'", "checksum"}, [&] { decode_image(png, "x.png"); });
}

TEST(Decode, SaysWhatAFileIsInstead) {
  TemporaryFolder folder;
  const auto expect = [&](const std::string& content, ErrorCode code, const std::vector<std::string>& parts) {
    const std::string path = folder / "thing";
    write_file_atomically(path, content);
    expect_error(code, parts, [&] { read_image(path); });
  };
  expect("", ErrorCode::kFormat, {"thing", "empty"});
  expect("hello, world", ErrorCode::kFormat, {"thing", "not a picture", "JPEG", "PNG", "BMP", "GIF", "PNM"});
  expect("RIFF1234WEBPVP8 ", ErrorCode::kUnsupported, {"thing", "WebP", "PNG"});
  expect(std::string("\0\0\0\x18"
                     "ftypavif",
                     12),
         ErrorCode::kUnsupported, {"AVIF"});
  expect(std::string("MM\0*1234", 8), ErrorCode::kUnsupported, {"TIFF"});
  expect("%PDF-1.7", ErrorCode::kUnsupported, {"PDF"});
  expect_error(ErrorCode::kNotFound, {folder / "nothing"}, [&] { read_image(folder / "nothing"); });
  expect_error(ErrorCode::kInvalidArgument, {folder.path(), "folder"}, [&] { read_image(folder.path()); });
}

TEST(Decode, InksAreInvertedWithoutAdobesNoteToo) {
  std::vector<std::byte> unnoted = read_file(data_path("cmyk.jpg"));
  const std::string text(reinterpret_cast<const char*>(unnoted.data()), unnoted.size());
  unnoted[text.find("Adobe")] = std::byte{'X'};
  EXPECT_EQ(difference(decode_image(unnoted, "a.jpg"), golden_image("cmyk.jpg.npy")).largest, 0);
}

TEST(Decode, RefusesJpegKindsByName) {
  std::vector<std::byte> jpeg = read_file(data_path("cmyk.jpg"));
  const std::string text(reinterpret_cast<const char*>(jpeg.data()), jpeg.size());
  const size_t frame = text.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  std::vector<std::byte> arithmetic = jpeg;
  arithmetic[frame + 1] = std::byte{0xC9};
  expect_error(ErrorCode::kUnsupported, {"'a.jpg'", "arithmetic"}, [&] { decode_image(arithmetic, "a.jpg"); });
  std::vector<std::byte> deep = jpeg;
  deep[frame + 4] = std::byte{12};
  expect_error(ErrorCode::kUnsupported, {"'a.jpg'", "12 bits"}, [&] { decode_image(deep, "a.jpg"); });
}

TEST(Decode, RefusesJpegTablesThatDoNotHold) {
  const std::vector<std::byte> jpeg = read_file(data_path("baseline.jpg"));
  const std::string text(reinterpret_cast<const char*>(jpeg.data()), jpeg.size());
  const auto refuse = [&](const std::string& changed, const std::string& part) {
    ASSERT_NE(changed, text);
    expect_error(ErrorCode::kFormat, {"'a.jpg'", part}, [&] { decode_image(bytes_of(changed), "a.jpg"); });
  };
  const size_t huffman = text.find("\xff\xc4"), quantisation = text.find("\xff\xdb"), scan = text.find("\xff\xda");
  ASSERT_TRUE(huffman != std::string::npos && quantisation != std::string::npos && scan != std::string::npos);
  std::string changed = text;
  changed[huffman + 4 + 16] = '\xff';  // the last of the 16 counts
  changed[huffman + 4 + 15] = '\xff';
  refuse(changed, "Huffman table");
  changed = text;
  changed[quantisation + 1] = '\xfe';
  refuse(changed, "uantization table");
  changed = text;
  changed[scan + 6] = '\x33';  // the first component's tables: the fourth ones
  refuse(changed, "Huffman table");
}

// libjpeg-turbo goes on with grey or shifted blocks; PIL shows them.
TEST(Decode, RefusesDamagedJpegData) {
  const std::string jpeg = [] {
    const std::vector<std::byte> bytes = read_file(data_path("baseline.jpg"));
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }();
  const size_t end = jpeg.size() - 2;  // of the pixels' data
  ASSERT_EQ(jpeg.substr(end), "\xff\xd9");
  const auto refuse = [](const std::string& damaged, const std::string& part) {
    expect_error(ErrorCode::kFormat, {"'a.jpg'", part}, [&] { decode_image(bytes_of(damaged), "a.jpg"); });
  };
  refuse(jpeg.substr(0, end - 40) + jpeg.substr(end), "premature end of data segment");
  refuse(jpeg.substr(0, end) + std::string(40, '\x55') + jpeg.substr(end), "extraneous bytes");
}

TEST(Decode, MemoryIsBoundedByThePictureNotByItsData) {
  // A PNG of one pixel whose compressed data unfold to 4 MB.
  const std::vector<std::byte> bomb = read_file(data_path("bomb.png"));
  ASSERT_LT(bomb.size(), 10000u);
  expect_error(ErrorCode::kOutOfMemory, {"'bomb.png'", "memory"}, [&] { decode_image(bomb, "bomb.png"); });
}

TEST(Decode, ChecksTheSizeBeforeDecoding) {
  const DecodeLimits narrow{23, 1 << 20};
  expect_error(ErrorCode::kUnsupported, {"rgb.png", "too large", "24x16", "23"}, [&] { read_image(data_path("rgb.png"), narrow); });
  const DecodeLimits few{16384, 24 * 16 - 1};
  expect_error(ErrorCode::kUnsupported, {"rgb.bmp", "too large"}, [&] { read_image(data_path("rgb.bmp"), few); });
  const DecodeLimits just{24, 24 * 16};
  EXPECT_EQ(read_image(data_path("rgb.png"), just).width, 24);
  expect_error(ErrorCode::kUnsupported, {"too large", "16385x1"}, [&] { decode_text("P5 16385 1 255\n"); });
}

TEST(Decode, RealPhotos) {
  const char* set = std::getenv("ACTMATCH_DATA");
  const std::string data = set ? set : std::string(ACTMATCH_SOURCE_DIR) + "/../shared/data";
  if (!std::filesystem::exists(data + "/images/kitten_224.png")) GTEST_SKIP() << "no test data in " << data << "; set ACTMATCH_DATA";
  const Image kitten = read_image(data + "/images/kitten_224.png");
  EXPECT_EQ(kitten.width, 224);
  EXPECT_EQ(kitten.height, 224);
  // The same photo as RGB, as CMYK and turned: the two derived files were made from the first ones, with JPEG losses of their own.
  for (const auto& [original, derived] :
       {std::pair{"n01818515_macaw.jpg", "derived_macaw_cmyk.jpg"}, {"n02391049_zebra.jpg", "derived_zebra_exif6.jpg"}}) {
    const Difference d = difference(read_image(data + "/images/" + original), read_image(data + "/images/" + derived));
    EXPECT_LT(d.mean, 6) << derived << ": a wrong sign of the inks or a wrong turn costs over 50";
  }
}

}  // namespace
}  // namespace actmatch::image_tests
