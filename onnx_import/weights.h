// The constants of a file by value name. Large ones stay where they lie until a graph needs their elements.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "engine/core/tensor.h"
#include "onnx_import/initializers.h"

namespace actmatch::onnx_import {

class Weights {
 public:
  // False where the name is taken.
  bool add(const std::string& name, Tensor tensor, int32_t onnx_type);
  bool add(const std::string& name, StoredTensor stored);

  bool contains(const std::string& name) const { return entries_.contains(name); }
  const auto& entries() const { return entries_; }

  // The elements; read at the first call and kept, so that all graphs of a model share them. Throws kIo.
  std::shared_ptr<const Tensor> load(const std::string& name) const;
  // Large tensors of floats or small integers: type and shape are right, the elements are zeros that take no memory. For graphs that are
  // only looked at. Null for others, which may decide about shapes. `as_floats`: as the next would give them.
  std::shared_ptr<const Tensor> outline(const std::string& name, bool as_floats = false) const;
  // The elements as floats where they are integers of at most 8 bits in the file, otherwise null: quantised weights become floats without
  // becoming 64-bit integers first.
  std::shared_ptr<const Tensor> load_small_integers_as_floats(const std::string& name) const;
  // The first element of a float tensor that is not finite, or -1; reads without keeping.
  int64_t find_non_finite(const std::string& name) const;

  struct Entry {
    StoredTensor stored;                           // source is null where the tensor came with the file's description
    mutable std::shared_ptr<const Tensor> tensor;  // null: not read yet
  };

 private:
  std::unordered_map<std::string, Entry> entries_;
  mutable std::mutex mutex_;
};

}  // namespace actmatch::onnx_import
