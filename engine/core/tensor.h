// Types, shapes and host tensors: row-major, contiguous, owned.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace actmatch {

// The element types of the graph. Importers widen: every float type becomes f32, every integer type i64.
enum class DType : uint8_t { kF32, kI64, kBool };

size_t size_of(DType dtype);
const char* name_of(DType dtype);
template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::kF32;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::kI64;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::kBool;
}

using Shape = std::vector<int64_t>;

int64_t element_count(const Shape& shape);  // 1 for a scalar; throws kUnsupported where the product overflows
std::vector<int64_t> row_major_strides(const Shape& shape);
std::string to_string(const Shape& shape);  // "1x3x224x224", "scalar"
// NumPy broadcasting; throws kInvalidArgument when the shapes do not fit.
Shape broadcast_shapes(const Shape& a, const Shape& b);
// Maps a negative axis to its positive form; throws kInvalidArgument when it lies outside [-rank, rank).
int64_t normalise_axis(int64_t axis, int64_t rank);

// A host tensor. Copies share the bytes; treat a shared tensor as immutable.
class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape);  // zero-filled
  template <class T>
  static Tensor of(Shape shape, std::span<const T> values);
  template <class T>
  static Tensor scalar(T value) {
    return of<T>({}, std::span<const T>(&value, 1));
  }

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t count() const { return count_; }
  size_t bytes() const { return static_cast<size_t>(count_) * size_of(dtype_); }
  template <class T>
  T* data() {
    check_type(dtype_of<T>());
    return reinterpret_cast<T*>(storage_.get());
  }
  template <class T>
  const T* data() const {
    check_type(dtype_of<T>());
    return reinterpret_cast<const T*>(storage_.get());
  }
  template <class T>
  std::span<const T> view() const {
    return {data<T>(), static_cast<size_t>(count_)};
  }
  void* raw() { return storage_.get(); }
  const void* raw() const { return storage_.get(); }
  Tensor reshaped(Shape shape) const;  // shares the bytes

 private:
  void check_type(DType wanted) const;
  DType dtype_ = DType::kF32;
  Shape shape_;
  int64_t count_ = 0;
  std::shared_ptr<std::byte[]> storage_;
};

template <class T>
Tensor Tensor::of(Shape shape, std::span<const T> values) {
  Tensor t(dtype_of<T>(), std::move(shape));
  std::copy(values.begin(), values.end(), t.data<T>());
  return t;
}

}  // namespace actmatch
