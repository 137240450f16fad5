#include "onnx_import/weights.h"

namespace actmatch::onnx_import {
namespace {

constexpr int64_t kSmall = 4096;  // elements; what decides about shapes is smaller

}  // namespace

bool Weights::add(const std::string& name, Tensor tensor, int32_t onnx_type) {
  StoredTensor description;
  description.type = onnx_type;
  description.dtype = tensor.dtype();
  description.shape = tensor.shape();
  return entries_.emplace(name, Entry{std::move(description), std::make_shared<const Tensor>(std::move(tensor))}).second;
}

bool Weights::add(const std::string& name, StoredTensor stored) { return entries_.emplace(name, Entry{std::move(stored), nullptr}).second; }

std::shared_ptr<const Tensor> Weights::load(const std::string& name) const {
  const Entry& entry = entries_.at(name);
  const std::lock_guard lock(mutex_);
  if (!entry.tensor) entry.tensor = std::make_shared<const Tensor>(read_stored(entry.stored, entry.stored.dtype));
  return entry.tensor;
}

std::shared_ptr<const Tensor> Weights::outline(const std::string& name, bool as_floats) const {
  const StoredTensor& stored = entries_.at(name).stored;
  const bool small_integer = is_small_integer(stored.type);
  if (element_count(stored.shape) <= kSmall || (!small_integer && (as_floats || stored.dtype != DType::kF32))) return nullptr;
  return std::make_shared<const Tensor>(as_floats ? DType::kF32 : stored.dtype, stored.shape);
}

std::shared_ptr<const Tensor> Weights::load_small_integers_as_floats(const std::string& name) const {
  const Entry& entry = entries_.at(name);
  if (entry.tensor || !entry.stored.source || !is_small_integer(entry.stored.type)) return nullptr;
  return std::make_shared<const Tensor>(read_stored(entry.stored, DType::kF32));
}

int64_t Weights::find_non_finite(const std::string& name) const {
  const Entry& entry = entries_.at(name);
  if (entry.stored.dtype != DType::kF32) return -1;
  if (!entry.stored.source) return onnx_import::find_non_finite(*entry.tensor, true);
  return onnx_import::find_non_finite(entry.stored);
}

}  // namespace actmatch::onnx_import
