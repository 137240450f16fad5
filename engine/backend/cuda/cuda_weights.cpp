#include "engine/backend/cuda/cuda_weights.h"

#include <cstring>

#include "engine/core/error.h"

namespace actmatch::cuda {

namespace {

template <class To, class From>
void put(std::byte* to, const From* from, const Shape& shape, Layout layout) {
  To* out = reinterpret_cast<To*>(to);
  const auto convert = [](From v) {
    if constexpr (std::is_same_v<To, bfloat16>)
      return kernels::from_float<bfloat16>(v);
    else
      return v;
  };
  const int64_t count = element_count(shape);
  if (layout == Layout::kRows) {
    for (int64_t i = 0; i < count; ++i) out[i] = convert(from[i]);
    return;
  }
  const size_t r = shape.size();
  const int64_t channels = shape[r - 3], positions = shape[r - 2] * shape[r - 1];
  const int64_t blocks = channels * positions == 0 ? 0 : count / (channels * positions);
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t p = 0; p < positions; ++p) out[(b * positions + p) * channels + c] = convert(from[(b * channels + c) * positions + p]);
}

}  // namespace

std::vector<std::byte> formed(const Tensor& tensor, Form form) {
  std::vector<std::byte> bytes(static_cast<size_t>(tensor.count()) * size_of(form.store));
  switch (form.store) {
    case Store::kF32: put<float>(bytes.data(), tensor.data<float>(), tensor.shape(), form.layout); break;
    case Store::kBf16: put<bfloat16>(bytes.data(), tensor.data<float>(), tensor.shape(), form.layout); break;
    case Store::kI64: put<int64_t>(bytes.data(), tensor.data<int64_t>(), tensor.shape(), form.layout); break;
    case Store::kBool: put<uint8_t>(bytes.data(), tensor.data<uint8_t>(), tensor.shape(), form.layout); break;
  }
  return bytes;
}

std::shared_ptr<const DeviceMemory> WeightCache::get(const std::shared_ptr<const Tensor>& constant, Form form) {
  const std::string kind = std::to_string(static_cast<int>(form.layout)) + "," + std::to_string(static_cast<int>(form.store));
  return get(constant, kind, [form](const Tensor& t) { return formed(t, form); });
}

std::shared_ptr<const DeviceMemory> WeightCache::get(const std::shared_ptr<const Tensor>& constant, const std::string& kind,
                                                     const std::function<std::vector<std::byte>(const Tensor&)>& make) {
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [](const Entry& e) { return e.constant.expired() || e.made.expired(); });
  for (const Entry& e : entries_)
    if (e.kind == kind && e.constant.lock() == constant)
      if (auto found = e.made.lock()) return found;  // its last user may be going away in another thread
  const std::vector<std::byte> bytes = make(*constant);
  auto made = std::make_shared<DeviceMemory>(std::max<size_t>(bytes.size(), 1), count_);
  copy_to_device(stream_, made->data(), bytes.data(), bytes.size());
  entries_.push_back({constant, kind, made});
  return made;
}

}  // namespace actmatch::cuda
