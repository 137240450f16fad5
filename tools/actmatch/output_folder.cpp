#include "tools/actmatch/output_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <actmatch/actmatch.hpp>
#include <cerrno>
#include <system_error>

namespace actmatch::tool {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw Failure(ACTMATCH_IO, "cannot write to the folder '" + path + "': " + reason + "; choose another folder with --out");
}

}  // namespace

OutputFolder::OutputFolder(const std::string& path) : text_(path), path_(fs::absolute(path).lexically_normal()) {
  std::error_code error;
  std::vector<fs::path> missing;
  for (fs::path p = path_; !p.empty() && !fs::exists(p, error) && p != p.root_path(); p = p.parent_path())
    if (p.has_filename()) missing.push_back(p);
  made_.assign(missing.rbegin(), missing.rend());
  fs::create_directories(path_, error);
  if (!error && !fs::is_directory(path_)) error = std::make_error_code(std::errc::not_a_directory);
  if (error) refuse(path, error.message());
  const std::string probe = file(".actmatch-" + std::to_string(::getpid()));
  const int fd = ::open(probe.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) refuse(path, std::generic_category().message(errno));
  ::close(fd);
  ::unlink(probe.c_str());
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;  // removing a folder that is not empty fails, as it should
  for (auto it = made_.rbegin(); it != made_.rend(); ++it) fs::remove(*it, ignored);
}

std::string FolderNames::next(const std::string& image_path) {
  std::string stem = fs::path(image_path).stem().string();
  if (stem.empty() || stem == "." || stem == "..") stem = "picture";
  std::string name = stem;
  for (int n = 2; !used_.insert(name).second; ++n) name = stem + "_" + std::to_string(n);
  return name;
}

}  // namespace actmatch::tool
