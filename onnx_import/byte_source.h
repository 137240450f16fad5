// Bytes that are read when they are needed: of a file, or of memory that somebody else keeps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace actmatch::onnx_import {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual uint64_t size() const = 0;
  // Fills `out` with the bytes from `offset`. Throws kIo when there are not as many: a file that became shorter meanwhile.
  virtual void read(uint64_t offset, std::span<std::byte> out) const = 0;
};

// The caller's memory, which has to live as long as the source.
class MemorySource : public ByteSource {
 public:
  explicit MemorySource(std::span<const std::byte> bytes) : bytes_(bytes) {}
  uint64_t size() const override { return bytes_.size(); }
  void read(uint64_t offset, std::span<std::byte> out) const override;

 private:
  std::span<const std::byte> bytes_;
};

// A regular file. It stays open where `keep_open` says so; otherwise it is opened for each read, since a model may lie in thousands of
// files. Throws kNotFound, kInvalidArgument (a folder or device), kIo.
class FileSource : public ByteSource {
 public:
  FileSource(const std::string& path, const std::string& what, bool keep_open);
  ~FileSource() override;
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;
  uint64_t size() const override { return size_; }
  void read(uint64_t offset, std::span<std::byte> out) const override;

 private:
  int open() const;
  std::string path_, what_;
  int file_ = -1;
  uint64_t size_ = 0;
};

}  // namespace actmatch::onnx_import
