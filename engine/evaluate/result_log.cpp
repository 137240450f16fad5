#include "engine/evaluate/result_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "engine/core/error.h"
#include "engine/image/file.h"

namespace actmatch {
namespace {

[[noreturn]] void fail(const std::string& what, const std::string& path, int error) {
  throw Error(ErrorCode::kIo,
              what + " '" + path + "': " + std::strerror(error) +
                  (error == ENOSPC || error == EDQUOT ? "; free some space and run the command again, it goes on where it stopped" : ""));
}

// Where the last complete line ends; reads backward, since the file may be large.
off_t end_of_lines(int file, const std::string& path) {
  struct stat status {};
  if (fstat(file, &status) != 0) fail("cannot read", path, errno);
  char block[4096];
  for (off_t end = status.st_size; end > 0;) {
    const auto size = static_cast<size_t>(std::min<off_t>(end, sizeof(block)));
    if (pread(file, block, size, end - static_cast<off_t>(size)) != static_cast<ssize_t>(size)) fail("cannot read", path, errno);
    const size_t newline = std::string_view(block, size).rfind('\n');
    if (newline != std::string_view::npos) return end - static_cast<off_t>(size) + static_cast<off_t>(newline) + 1;
    end -= static_cast<off_t>(size);
  }
  return 0;
}

}  // namespace

ResultLog::ResultLog(const std::string& path, double sync_seconds)
    : path_(path), synced_(std::chrono::steady_clock::now()), sync_seconds_(sync_seconds) {
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) fail("cannot open", path, errno);
  try {
    if (flock(file_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) fail("cannot lock", path, errno);
      throw Error(
          ErrorCode::kInvalidArgument,
          "'" + path + "' is being written by another run; wait for it, give the runs parts with --shard I/N, or take another --out");
    }
    const off_t end = end_of_lines(file_, path);
    if (ftruncate(file_, end) != 0 || lseek(file_, end, SEEK_SET) < 0) fail("cannot write", path, errno);
  } catch (...) {
    close(file_);
    throw;
  }
}

ResultLog::~ResultLog() {
  fsync(file_);
  close(file_);
}

void ResultLog::append(const std::string& record) {
  const std::string line = record + "\n";
  const off_t begin = lseek(file_, 0, SEEK_CUR);
  for (size_t done = 0; done < line.size();) {
    const ssize_t written = write(file_, line.data() + done, line.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      // The part that did go through is taken back; where that fails too, the next run cuts it off.
      if (ftruncate(file_, begin) == 0) lseek(file_, begin, SEEK_SET);
      fail("cannot write", path_, error);
    }
    done += static_cast<size_t>(written);
  }
  if (std::chrono::steady_clock::now() - synced_ >= std::chrono::duration<double>(sync_seconds_)) sync();
}

void ResultLog::sync() {
  if (fsync(file_) != 0 && errno != EINVAL) fail("cannot write", path_, errno);  // EINVAL: no disk behind it
  synced_ = std::chrono::steady_clock::now();
}

bool is_being_written(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail("cannot open", path, errno);
  // Shared, so that several who ask at once do not take each other for a writer.
  const bool held = flock(file, LOCK_SH | LOCK_NB) != 0;
  const int error = errno;
  close(file);
  if (held && error != EWOULDBLOCK) fail("cannot lock", path, error);
  return held;
}

std::vector<std::string> read_log(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<std::string> lines;
  for (size_t begin = 0;;) {
    const size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) return lines;
    lines.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
}

}  // namespace actmatch
