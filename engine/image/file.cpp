#include "engine/image/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "engine/core/error.h"

namespace actmatch {
namespace {

std::string reason_of(int error) { return std::generic_category().message(error); }

const char* cure_for(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT: return "free some space there or choose another folder";
    case EACCES:
    case EPERM:
    case EROFS: return "choose a folder that you may write to";
    case ENOENT: return "create the folder first";
    case ENOTDIR: return "a part of the path is a file, so choose another path";
    case EISDIR: return "it is a folder, so name a file in it";
    case ENAMETOOLONG: return "choose a shorter name";
    case EFBIG: return "raise the limit on file sizes (ulimit -f) or choose another file system";
    case EMFILE:
    case ENFILE: return "raise the limit on open files (ulimit -n)";
    default: return "check the disk and the path";
  }
}

[[noreturn]] void fail_write(const std::string& path, int error) {
  throw Error(ErrorCode::kIo, "cannot write '" + path + "': " + reason_of(error) + "; " + cure_for(error));
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { close(); }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  // 0, or the error number: some file systems report a full disk only here.
  int close() {
    const int result = fd_ >= 0 && ::close(fd_) != 0 ? errno : 0;
    fd_ = -1;
    return result;
  }

 private:
  int fd_;
};

// 0, or the error number.
int write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return 0;
}

// Until there is something to read, or nobody left to write.
void wait_for(int fd) {
  pollfd ready{fd, POLLIN, 0};
  ::poll(&ready, 1, -1);
}

}  // namespace

std::vector<std::byte> read_file(const std::string& path) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // opening a pipe must not wait for its writer
  if (file.get() < 0 && (errno == ENOENT || errno == ENOTDIR))
    throw Error(ErrorCode::kNotFound, "there is no file '" + path + "'; check the path");
  const auto fail = [&](int error) {
    throw Error(ErrorCode::kIo, "cannot read '" + path + "': " + reason_of(error) + "; check the file and its permissions");
  };
  if (file.get() < 0) fail(errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail(errno);
  if (S_ISDIR(status.st_mode)) throw Error(ErrorCode::kInvalidArgument, "'" + path + "' is a folder; name a file in it");

  if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode))
    throw Error(ErrorCode::kInvalidArgument, "'" + path + "' is a device, not a file");

  constexpr size_t kGrowth = size_t{1} << 16, kLongestPipe = size_t{1} << 30;
  std::vector<std::byte> bytes(status.st_size > 0 ? static_cast<size_t>(status.st_size) : 0);
  size_t filled = 0;
  const auto more = [&](std::byte* to, size_t count) {
    for (;;) {
      const ssize_t n = ::read(file.get(), to, count);
      if (n >= 0) return static_cast<size_t>(n);
      if (errno == EAGAIN || errno == EWOULDBLOCK)
        wait_for(file.get());
      else if (errno != EINTR)
        fail(errno);
    }
  };
  while (true) {  // the size is a hint only: pipes have none, and files may grow
    if (filled < bytes.size()) {
      const size_t n = more(bytes.data() + filled, bytes.size() - filled);
      filled += n;
      if (n > 0) continue;
      bytes.resize(filled);
      return bytes;
    }
    std::byte probe{};
    if (more(&probe, 1) == 0) break;
    if (!S_ISREG(status.st_mode) && filled >= kLongestPipe)
      throw Error(ErrorCode::kInvalidArgument, "'" + path + "' gives more than " + std::to_string(kLongestPipe >> 20) + " MB");
    bytes.resize(std::max(kGrowth, bytes.size() * 2));
    bytes[filled++] = probe;
  }
  if (S_ISFIFO(status.st_mode) && filled == 0)
    throw Error(ErrorCode::kInvalidArgument, "nothing comes out of the pipe '" + path + "'; name a file, or write into it first");
  return bytes;
}

StagedFiles::~StagedFiles() {
  for (const File& file : files_) ::unlink(file.temporary.c_str());
}

void StagedFiles::add(const std::string& path, std::span<const std::byte> bytes) {
  struct stat status {};
  std::string target = path;
  if (::stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) fail_write(path, EISDIR);
    if (!S_ISREG(status.st_mode)) {  // renaming over a device would replace the device itself
      FileDescriptor device(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
      if (device.get() < 0) fail_write(path, errno);
      if (const int error = write_all(device.get(), bytes)) fail_write(path, error);
      return;
    }
    char resolved[PATH_MAX];
    if (::realpath(path.c_str(), resolved)) target = resolved;
  }
  static std::atomic<unsigned> counter{0};
  std::string temporary;
  int descriptor = -1;
  do {  // machines that share the folder may have processes of the same number
    temporary = target + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
    descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor < 0 && errno == EEXIST);
  FileDescriptor file(descriptor);
  if (file.get() < 0) fail_write(path, errno);
  files_.push_back({path, temporary, target});
  int error = write_all(file.get(), bytes);
  if (!error && ::fsync(file.get()) != 0) error = errno;
  const int close_error = file.close();
  if (!error) error = close_error;
  if (error) fail_write(path, error);
}

void StagedFiles::add(const std::string& path, std::string_view text) { add(path, std::as_bytes(std::span(text.data(), text.size()))); }

void StagedFiles::commit() {
  while (!files_.empty()) {
    const File& file = files_.front();
    if (::rename(file.temporary.c_str(), file.target.c_str()) != 0) fail_write(file.path, errno);
    files_.erase(files_.begin());
  }
}

void write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  StagedFiles one;
  one.add(path, bytes);
  one.commit();
}

void write_file_atomically(const std::string& path, std::string_view text) {
  write_file_atomically(path, std::as_bytes(std::span(text.data(), text.size())));
}

void make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error && !is_folder(path)) error = std::make_error_code(std::errc::not_a_directory);
  if (error) throw Error(ErrorCode::kIo, "cannot create the folder '" + path + "': " + error.message() + "; " + cure_for(error.value()));
}

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

std::vector<std::string> list_images(const std::string& folder) {
  constexpr std::array kExtensions = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".pnm", ".ppm", ".pgm", ".pbm"};
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::exists(folder, error)) throw Error(ErrorCode::kNotFound, "there is no folder '" + folder + "'; check the path");
  if (!is_folder(folder)) throw Error(ErrorCode::kInvalidArgument, "'" + folder + "' is not a folder; name the folder of the pictures");
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::string extension = it->path().extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (name.front() == '.' || std::find(kExtensions.begin(), kExtensions.end(), extension) == kExtensions.end()) continue;
    std::error_code ignored;
    if (!it->is_directory(ignored)) names.push_back((fs::path(folder) / name).string());
  }
  if (error) throw Error(ErrorCode::kIo, "cannot list the folder '" + folder + "': " + error.message() + "; check its permissions");
  if (names.empty())
    throw Error(ErrorCode::kNotFound, "there is no picture in the folder '" + folder +
                                          "'; files with the extensions .jpg, .png, .bmp, .gif, .pnm and their variants are taken");
  std::sort(names.begin(), names.end());
  return names;
}

std::string base64(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t have = std::min<size_t>(3, bytes.size() - i);
    unsigned group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < have ? static_cast<unsigned>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) text += k <= have ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace actmatch
