// Class names, and the digests of records.
#include "engine/api/labels.h"

#include <sys/stat.h>

#include "engine/api/sha256.h"
#include "engine/core/error.h"
#include "tests/e2e/command.h"

namespace actmatch::e2e {
namespace {

TEST(Labels, FindsClassesByIndexNameAndBeginning) {
  const TemporaryFolder tmp;
  write(tmp / "labels.txt", "\xEF\xBB\xBFtench, Tinca tinca\r\ntabby, tabby cat\r\ntiger cat\r\ncrane\r\ncrane\r\nEgyptian cat\r\n\r\n");
  const api::Labels labels(tmp / "labels.txt", 6);
  EXPECT_EQ(labels.name(0), "tench, Tinca tinca");
  EXPECT_EQ(labels.name(5), "Egyptian cat");
  EXPECT_EQ(labels.find("4", 6), 4);
  EXPECT_EQ(labels.find("tench, tinca TINCA", 6), 0);
  EXPECT_EQ(labels.find("Tabby Cat", 6), 1);
  EXPECT_EQ(labels.find("tabby", 6), 1);  // a whole synonym, although "tabby cat" begins so too
  EXPECT_EQ(labels.find("egypt", 6), 5);
  const auto message = [&](const std::string& text) {
    try {
      labels.find(text, 6);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kNotFound);
      return std::string(e.what());
    }
    return std::string("found");
  };
  EXPECT_NE(message("t").find("fits several: 0 'tench, Tinca tinca', 1 'tabby, tabby cat', 2 'tiger cat'"), std::string::npos)
      << message("t");
  EXPECT_NE(message("crane").find("3 'crane', 4 'crane'; give the index"), std::string::npos) << message("crane");
  EXPECT_NE(message("tiger kat").find("did you mean 2 'tiger cat'"), std::string::npos) << message("tiger kat");
  EXPECT_NE(message("6").find("classes 0 to 5"), std::string::npos);
  EXPECT_NE(message("99999999999999999999").find("classes 0 to 5"), std::string::npos);
  EXPECT_NE(message("").find("no class ''"), std::string::npos);
  EXPECT_THROW(api::Labels(tmp / "labels.txt", 7), Error);
}

// The examples of the standard, and lengths around the block's end.
TEST(Sha256, KnownDigests) {
  const auto digest = [](const std::string& text) { return api::sha256_hex(std::as_bytes(std::span(text.data(), text.size()))); };
  EXPECT_EQ(digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(digest(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(digest(std::string(55, 'x')), "d5e285683cd4efc02d021a5c62014694958901005d6f71e89e0989fac77e4072");
  EXPECT_EQ(digest(std::string(56, 'x')), "04c26261370ee7541549d16dee320c723e3fd14671e66a099afe0a377c16888e");
  EXPECT_EQ(digest(std::string(63, 'x')), "75220b47218278e656f2013bb8f0c455a25eaf01e86c64924e9d48d89776d6f2");
  EXPECT_EQ(digest(std::string(64, 'x')), "7ce100971f64e7001e8fe5a51973ecdfe1ced42befe7ee8d5fd6219506b5393c");
  EXPECT_EQ(digest(std::string(65, 'x')), "9537c5fdf120482f7d58d25e9ed583f52c02b4e304ea814db1633ad565aed7e9");
  EXPECT_EQ(digest(std::string(119, 'x')), "000b48d4edf0fa7bee3c6236ecd2785baa5db4eeb8bb54341b029e0d9fa5fb0c");
}

TEST(Sha256, OfFilesAlone) {
  const TemporaryFolder tmp;
  write(tmp / "abc", "abc");
  EXPECT_EQ(api::sha256_of_file(tmp / "abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  ASSERT_EQ(mkfifo((tmp / "pipe").c_str(), 0600), 0);
  for (const std::string& path : {tmp / "pipe", tmp / ".", std::string("/dev/zero")})  // would wait, or never end
    try {
      api::sha256_of_file(path);
      ADD_FAILURE() << path;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument) << path;
    }
}

}  // namespace
}  // namespace actmatch::e2e
