// Constants on the device, in the forms that operators ask for; shared by all programs of a backend (one classifier is compiled for several
// batches).
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/backend/cuda/cuda_form.h"
#include "engine/backend/cuda/cuda_memory.h"

namespace actmatch::cuda {

class WeightCache {
 public:
  WeightCache(cudaStream_t stream, std::shared_ptr<MemoryCount> count) : stream_(stream), count_(std::move(count)) {}

  std::shared_ptr<const DeviceMemory> get(const std::shared_ptr<const Tensor>& constant, Form form);
  // In a form that an operator makes itself: make(constant) gives the bytes, `kind` says which form it is.
  std::shared_ptr<const DeviceMemory> get(const std::shared_ptr<const Tensor>& constant, const std::string& kind,
                                          const std::function<std::vector<std::byte>(const Tensor&)>& make);

 private:
  struct Entry {
    std::weak_ptr<const Tensor> constant;
    std::string kind;
    std::weak_ptr<const DeviceMemory> made;
  };
  cudaStream_t stream_;
  std::shared_ptr<MemoryCount> count_;
  std::vector<Entry> entries_;
  std::mutex mutex_;
};

// The bytes of a host tensor in a form.
std::vector<std::byte> formed(const Tensor& tensor, Form form);

}  // namespace actmatch::cuda
