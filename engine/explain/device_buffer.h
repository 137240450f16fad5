// Device memory with an owner.
#pragma once

#include <cstring>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/backend/backend.h"

namespace actmatch {

class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(Backend& backend, int64_t count) : backend_(&backend), data_(backend.allocate(static_cast<size_t>(count))), count_(count) {}
  DeviceBuffer(Backend& backend, std::span<const float> values) : DeviceBuffer(backend, static_cast<int64_t>(values.size())) {
    upload(values);
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceBuffer() {
    if (data_) backend_->release(data_);
  }
  void upload(std::span<const float> values) { backend_->upload(data_, values.data(), values.size()); }
  std::vector<float> download() const {
    std::vector<float> values(static_cast<size_t>(count_));
    backend_->download(values.data(), data_, values.size());
    return values;
  }
  float* data() const { return data_; }
  int64_t count() const { return count_; }

 private:
  void swap(DeviceBuffer& other) {
    std::swap(backend_, other.backend_);
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
  }
  Backend* backend_ = nullptr;
  float* data_ = nullptr;
  int64_t count_ = 0;
};

// Device memory for `count` values of another type (labels, counters, bytes of masks), which travel as the bits they are.
template <class T>
class DeviceArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  DeviceArray() = default;
  DeviceArray(Backend& backend, int64_t count) : memory_(backend, words(count)), count_(count) {}
  DeviceArray(Backend& backend, std::span<const T> values) : DeviceArray(backend, static_cast<int64_t>(values.size())) { upload(values); }
  // At most count() values.
  void upload(std::span<const T> values) {
    std::vector<float> bits(static_cast<size_t>(words(static_cast<int64_t>(values.size()))));
    if (!values.empty()) std::memcpy(bits.data(), values.data(), values.size_bytes());
    memory_.upload(bits);
  }
  std::vector<T> download() const {
    const std::vector<float> bits = memory_.download();
    std::vector<T> values(static_cast<size_t>(count_));
    if (!values.empty()) std::memcpy(static_cast<void*>(values.data()), bits.data(), values.size() * sizeof(T));
    return values;
  }
  T* data() const { return reinterpret_cast<T*>(memory_.data()); }
  int64_t count() const { return count_; }

 private:
  static int64_t words(int64_t count) {
    return (count * static_cast<int64_t>(sizeof(T)) + static_cast<int64_t>(sizeof(float)) - 1) / static_cast<int64_t>(sizeof(float));
  }
  DeviceBuffer memory_;
  int64_t count_ = 0;
};

}  // namespace actmatch
