// Memory of the device with an owner.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

namespace actmatch::cuda {

// Aligned to 256 bytes, as cudaMalloc does it. Not filled. Freed with the object, which must outlive the work that uses it.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(size_t bytes);  // throws kOutOfMemory; 0 bytes: a null pointer
  DeviceMemory(DeviceMemory&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;
  ~DeviceMemory();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Copies, done when the call returns. Not while the stream is captured.
void copy_to_device(cudaStream_t stream, void* device, const void* host, size_t bytes);
void copy_to_host(cudaStream_t stream, void* host, const void* device, size_t bytes);
void fill_zero(cudaStream_t stream, void* device, size_t bytes);  // in the stream's order

}  // namespace actmatch::cuda
