// Memory of the device with an owner.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace actmatch::cuda {

// Bytes held by all that count here. Objects may come and go on any thread.
class MemoryCount {
 public:
  void add(size_t bytes);
  void remove(size_t bytes) { now_ -= bytes; }
  void restart_peak() { peak_ = now_.load(); }
  size_t now() const { return now_; }
  size_t peak() const { return peak_; }

 private:
  std::atomic<size_t> now_ = 0, peak_ = 0;
};

// Aligned to 256 bytes, as cudaMalloc does it. Not filled. Freed with the object, which must outlive the work that uses it.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  // Throws kOutOfMemory; 0 bytes: a null pointer. `count` may be null.
  explicit DeviceMemory(size_t bytes, std::shared_ptr<MemoryCount> count = nullptr);
  DeviceMemory(DeviceMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)), count_(std::move(other.count_)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;
  ~DeviceMemory();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  std::shared_ptr<MemoryCount> count_;
};

// Copies, done when the call returns. Not while the stream is captured.
void copy_to_device(cudaStream_t stream, void* device, const void* host, size_t bytes);
void copy_to_host(cudaStream_t stream, void* host, const void* device, size_t bytes);
void fill_zero(cudaStream_t stream, void* device, size_t bytes);  // in the stream's order

}  // namespace actmatch::cuda
