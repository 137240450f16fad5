#include "engine/backend/cuda/cuda_memory.h"

#include "engine/backend/cuda/check.h"

namespace actmatch::cuda {

void MemoryCount::add(size_t bytes) {
  const size_t now = now_ += bytes;
  size_t peak = peak_;
  while (peak < now && !peak_.compare_exchange_weak(peak, now)) {
  }
}

// Whole words: what is read and written by them may end inside one.
static size_t whole_words(size_t bytes) { return (bytes + 15) / 16 * 16; }

DeviceMemory::DeviceMemory(size_t bytes, std::shared_ptr<MemoryCount> count) : count_(std::move(count)) {
  if (bytes == 0) return;
  ACTMATCH_CUDA(cudaMalloc(&data_, whole_words(bytes)));
  bytes_ = bytes;
  if (count_) count_->add(whole_words(bytes_));
}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(count_, other.count_);
  return *this;
}

DeviceMemory::~DeviceMemory() {
  if (data_ == nullptr) return;
  cudaFree(data_);
  if (count_) count_->remove(whole_words(bytes_));
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
