#include "engine/image/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "tests/image/image_data.h"

namespace actmatch::image_tests {
namespace {

std::string text_of(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

size_t entries_of(const std::string& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}

TEST(File, WritesAndReplaces) {
  TemporaryFolder folder;
  const std::string path = folder / "a.txt";
  write_file_atomically(path, "first and longer");
  write_file_atomically(path, "second");
  EXPECT_EQ(text_of(path), "second");
  write_file_atomically(path, "");
  EXPECT_EQ(text_of(path), "");
  EXPECT_EQ(entries_of(folder.path()), 1u) << "a temporary file was left";
}

TEST(File, PipesAndDevices) {
  TemporaryFolder folder;
  const std::string pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto message = [](const std::string& path) -> std::string {
    try {
      read_file(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.what();
    }
    return {};
  };
  EXPECT_NE(message(pipe).find("nothing comes out of the pipe '" + pipe), std::string::npos) << "without a writer: must not wait for one";
  EXPECT_NE(message("/dev/zero").find("device"), std::string::npos);
  const std::string text(200000, 'x');  // more than a pipe holds
  const int keep_open = ::open(pipe.c_str(), O_RDWR);
  std::thread writer([&] {
    const int out = ::open(pipe.c_str(), O_WRONLY);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the reader has to wait
    for (size_t done = 0; done < text.size();) done += static_cast<size_t>(::write(out, text.data() + done, text.size() - done));
    ::close(out);
    ::close(keep_open);
  });
  EXPECT_EQ(text_of(pipe), text);
  writer.join();
}

TEST(File, FollowsSymbolicLinks) {
  TemporaryFolder folder;
  write_file_atomically(folder / "target", "old");
  std::filesystem::create_symlink("target", folder / "link");
  write_file_atomically(folder / "link", "new");
  EXPECT_EQ(text_of(folder / "target"), "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
}

TEST(File, FailuresSayWhyAndLeaveNothing) {
  TemporaryFolder folder;
  write_file_atomically(folder / "plain", "x");
  // Below a regular file nobody can write, root neither.
  expect_error(ErrorCode::kIo, {"plain/a.png", "choose another path"}, [&] { write_file_atomically(folder / "plain/a.png", "x"); });
  expect_error(ErrorCode::kIo, {"none/a.png", "create the folder"}, [&] { write_file_atomically(folder / "none/a.png", "x"); });
  expect_error(ErrorCode::kIo, {folder.path(), "name a file"}, [&] { write_file_atomically(folder.path(), "x"); });
  expect_error(ErrorCode::kIo, {"shorter name"}, [&] { write_file_atomically(folder / std::string(400, 'n'), "x"); });
  EXPECT_EQ(entries_of(folder.path()), 1u);
}

TEST(File, AFullDeviceIsReportedAndStaysADevice) {
  struct stat status {};
  if (::stat("/dev/full", &status) != 0 || !S_ISCHR(status.st_mode)) GTEST_SKIP() << "no /dev/full here";
  expect_error(ErrorCode::kIo, {"/dev/full", "space"}, [] { write_file_atomically("/dev/full", "x"); });
  ASSERT_EQ(::stat("/dev/full", &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
}

TEST(File, AFailureMidwayKeepsTheOldFile) {
  TemporaryFolder folder;
  const std::string path = folder / "a.bin";
  write_file_atomically(path, "old");
  // A limit on the size of files stands for a disk that fills up while writing.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message;
  try {
    write_file_atomically(path, std::string(100000, 'n'));
  } catch (const Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_NE(message.find("ulimit"), std::string::npos) << message;
  EXPECT_EQ(text_of(path), "old");
  EXPECT_EQ(entries_of(folder.path()), 1u) << "the temporary file was left";
}

TEST(File, ReadsWhatHasNoSize) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const std::string sent(50000, 'q');  // fits a pipe's buffer
  ASSERT_EQ(::write(ends[1], sent.data(), sent.size()), static_cast<ssize_t>(sent.size()));
  ::close(ends[1]);
  EXPECT_EQ(text_of("/proc/self/fd/" + std::to_string(ends[0])), sent);
  ::close(ends[0]);
}

TEST(File, Folders) {
  TemporaryFolder folder;
  make_folder(folder / "a/b/c");
  make_folder(folder / "a/b/c");
  EXPECT_TRUE(is_folder(folder / "a/b/c"));
  EXPECT_FALSE(is_folder(folder / "none"));
  write_file_atomically(folder / "plain", "x");
  EXPECT_FALSE(is_folder(folder / "plain"));
  expect_error(ErrorCode::kIo, {"plain"}, [&] { make_folder(folder / "plain"); });
  expect_error(ErrorCode::kIo, {"plain/under"}, [&] { make_folder(folder / "plain/under"); });
}

TEST(File, ListsPictures) {
  TemporaryFolder folder;
  expect_error(ErrorCode::kNotFound, {"no picture", folder.path(), ".png"}, [&] { list_images(folder.path()); });
  for (const char* name : {"b.JPG", "a.png", "c.txt", ".hidden.png", "d.jpeg"}) write_file_atomically(folder / name, "x");
  make_folder(folder / "folder.png");
  EXPECT_EQ(list_images(folder.path()), (std::vector<std::string>{folder / "a.png", folder / "b.JPG", folder / "d.jpeg"}));
  expect_error(ErrorCode::kNotFound, {"none"}, [&] { list_images(folder / "none"); });
  expect_error(ErrorCode::kInvalidArgument, {"a.png", "not a folder"}, [&] { list_images(folder / "a.png"); });
}

TEST(File, Base64) {
  const auto encode = [](const std::string& text) { return base64(std::as_bytes(std::span(text.data(), text.size()))); };
  // The vectors of RFC 4648, section 10.
  EXPECT_EQ(encode(""), "");
  EXPECT_EQ(encode("f"), "Zg==");
  EXPECT_EQ(encode("fo"), "Zm8=");
  EXPECT_EQ(encode("foo"), "Zm9v");
  EXPECT_EQ(encode("foob"), "Zm9vYg==");
  EXPECT_EQ(encode("fooba"), "Zm9vYmE=");
  EXPECT_EQ(encode("foobar"), "Zm9vYmFy");
  EXPECT_EQ(encode("\xff\xfe\xfd"), "//79");
}

}  // namespace
}  // namespace actmatch::image_tests
