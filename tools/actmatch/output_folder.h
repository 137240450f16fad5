// The folder of `explain --out`: made and tried before the work starts, and taken away again when nothing came to lie in it.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace actmatch::tool {

class OutputFolder {
 public:
  explicit OutputFolder(const std::string& path);  // throws Failure when it cannot be made or written to
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  std::string file(const std::string& name) const { return (path_ / name).string(); }
  const std::string& path() const { return text_; }

 private:
  std::string text_;
  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;  // innermost last
};

// Names for the pictures' folders: the file name without its ending, with _2, _3, ... where pictures share one.
class FolderNames {
 public:
  std::string next(const std::string& image_path);

 private:
  std::set<std::string> used_{"index.html"};
};

}  // namespace actmatch::tool
