// The GPU that plans are made for. It need not be here: a description in JSON is enough for heuristics, support checks and the building of
// precompiled plans, so all of that can be tested on a machine without a GPU.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace actmatch::cuda {

class DeviceDescription {
 public:
  // Of the CUDA device with this number. Throws kUnsupported when cuDNN cannot read it.
  static DeviceDescription of_device(int device);
  // As to_json() writes it. Throws kFormat for text that cuDNN does not take or that names no device.
  static DeviceDescription from_json(const std::string& text);

  ~DeviceDescription();
  DeviceDescription(DeviceDescription&&) noexcept;
  DeviceDescription& operator=(DeviceDescription&&) noexcept;

  std::string to_json() const;
  const std::string& name() const { return name_; }               // "NVIDIA H200"
  int compute_capability() const { return compute_capability_; }  // 90 for 9.0
  struct Impl;
  const Impl& impl() const { return *impl_; }  // for the files of this folder

 private:
  explicit DeviceDescription(std::unique_ptr<Impl> impl);
  void read_facts();

  std::unique_ptr<Impl> impl_;
  std::string name_;
  int compute_capability_ = 0;
};

// Of the library that was loaded: 91900 for 9.19.0.
int64_t cudnn_version();

}  // namespace actmatch::cuda
