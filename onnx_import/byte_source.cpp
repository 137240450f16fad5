#include "onnx_import/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/core/error.h"

namespace actmatch::onnx_import {

void MemorySource::read(uint64_t offset, std::span<std::byte> out) const {
  if (offset > bytes_.size() || out.size() > bytes_.size() - offset)
    throw Error(ErrorCode::kIo, "bytes past the end of the model are asked for");
  if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
}

FileSource::FileSource(const std::string& path, const std::string& what, bool keep_open) : path_(path), what_(what) {
  const int file = open();
  struct stat status {};
  const bool known = fstat(file, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    close(file);
    throw Error(ErrorCode::kInvalidArgument, what_ + " '" + path_ + "' is not a file; give the path of one");
  }
  size_ = static_cast<uint64_t>(status.st_size);
  if (keep_open)
    file_ = file;
  else
    close(file);
}

FileSource::~FileSource() {
  if (file_ >= 0) close(file_);
}

int FileSource::open() const {
  const int file = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // opening a pipe must not wait for its writer
  if (file >= 0) return file;
  if (errno == ENOENT || errno == ENOTDIR) throw Error(ErrorCode::kNotFound, what_ + " '" + path_ + "' does not exist; check the path");
  throw Error(ErrorCode::kIo, what_ + " '" + path_ + "' cannot be read (" + std::strerror(errno) + "); check its permissions");
}

void FileSource::read(uint64_t offset, std::span<std::byte> out) const {
  const int file = file_ >= 0 ? file_ : open();
  ssize_t got = 1;
  size_t done = 0;
  while (done < out.size() && got > 0) {
    got = pread(file, out.data() + done, std::min<size_t>(out.size() - done, size_t{1} << 30), static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR)
      got = 1;
    else if (got > 0)
      done += static_cast<size_t>(got);
  }
  if (file_ < 0) close(file);
  if (done < out.size()) throw Error(ErrorCode::kIo, what_ + " '" + path_ + "' cannot be read to its end; did it change meanwhile?");
}

}  // namespace actmatch::onnx_import
