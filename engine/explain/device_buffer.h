// Device memory with an owner.
#pragma once

#include <span>
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

}  // namespace actmatch
