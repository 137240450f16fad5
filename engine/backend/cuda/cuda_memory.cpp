#include "engine/backend/cuda/cuda_memory.h"

#include "engine/backend/cuda/check.h"

namespace actmatch::cuda {

DeviceMemory::DeviceMemory(size_t bytes) {
  if (bytes == 0) return;
  // Whole words: what is read and written by them may end inside one.
  ACTMATCH_CUDA(cudaMalloc(&data_, (bytes + 15) / 16 * 16));
  bytes_ = bytes;
}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) cudaFree(data_);
}

void copy_to_device(cudaStream_t stream, void* device, const void* host, size_t bytes) {
  if (bytes == 0) return;
  ACTMATCH_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream));
  ACTMATCH_CUDA(cudaStreamSynchronize(stream));
}

void copy_to_host(cudaStream_t stream, void* host, const void* device, size_t bytes) {
  if (bytes == 0) return;
  ACTMATCH_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream));
  ACTMATCH_CUDA(cudaStreamSynchronize(stream));
}

void fill_zero(cudaStream_t stream, void* device, size_t bytes) {
  if (bytes > 0) ACTMATCH_CUDA(cudaMemsetAsync(device, 0, bytes, stream));
}

}  // namespace actmatch::cuda
