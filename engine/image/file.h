// Files and folders: whole-file reads, writes that never leave half a file behind, and the small helpers around them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace actmatch {

// The bytes of a file or pipe. Throws kNotFound (no such file), kInvalidArgument (a folder, device, empty pipe) or kIo, naming the path.
std::vector<std::byte> read_file(const std::string& path);

// Replaces or creates a file in one step: readers see the old content or the new, never a part, also after a crash (a temporary
// file beside it, fsync, rename). A symbolic link is followed. On failure the temporary file is removed and kIo is thrown with the
// path, the system's reason and the cure. A path that is a device or a pipe (/dev/stdout) is written to directly.
void write_file_atomically(const std::string& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::string& path, std::string_view text);

// Files that belong together: all of them are written under temporary names first and get their own names in commit(), so that a full
// disk leaves what was there before. What is not committed is removed again.
class StagedFiles {
 public:
  StagedFiles() = default;
  ~StagedFiles();
  StagedFiles(const StagedFiles&) = delete;
  StagedFiles& operator=(const StagedFiles&) = delete;
  // As write_file_atomically, but for the name. Throws kIo.
  void add(const std::string& path, std::span<const std::byte> bytes);
  void add(const std::string& path, std::string_view text);
  void commit();  // in the order of add(); throws kIo

 private:
  struct File {
    std::string path, temporary, target;
  };
  std::vector<File> files_;
};

// Creates a folder and its parents; content when it is there already. Throws kIo.
void make_folder(const std::string& path);
bool is_folder(const std::string& path);

// The pictures directly in a folder, by extension (.jpg .jpeg .jpe .jfif .png .bmp .gif .pnm .ppm .pgm .pbm, any case; hidden
// files left out), as "folder/name" sorted by name. Throws kNotFound (no such folder, or no picture in it) or kInvalidArgument
// (not a folder).
std::vector<std::string> list_images(const std::string& folder);

// Standard base64 (RFC 4648) with padding, without line breaks.
std::string base64(std::span<const std::byte> bytes);

}  // namespace actmatch
