#include "engine/core/tensor.h"

#include <cstdlib>
#include <limits>
#include <memory>
#include <new>

#include "engine/core/error.h"

namespace actmatch {

size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF32: return 4;
    case DType::kI64: return 8;
    case DType::kBool: return 1;
  }
  return 0;
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32: return "float32";
    case DType::kI64: return "int64";
    case DType::kBool: return "bool";
  }
  return "?";
}

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (int64_t extent : shape) {
    if (extent < 0) throw Error(ErrorCode::kInvalidArgument, "a shape has the negative extent " + std::to_string(extent));
    if (extent != 0 && count > std::numeric_limits<int64_t>::max() / 8 / extent)
      throw Error(ErrorCode::kUnsupported, "a tensor of shape " + to_string(shape) + " is too large to address");
    count *= extent;
  }
  return count;
}

std::vector<int64_t> row_major_strides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

std::string to_string(const Shape& shape) {
  if (shape.empty()) return "scalar";
  std::string text;
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? "x" : "") + std::to_string(shape[i]);
  return text;
}

Shape broadcast_shapes(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t ea = i < out.size() - a.size() ? 1 : a[i - (out.size() - a.size())];
    const int64_t eb = i < out.size() - b.size() ? 1 : b[i - (out.size() - b.size())];
    if (ea != eb && ea != 1 && eb != 1)
      throw Error(ErrorCode::kInvalidArgument, "shapes " + to_string(a) + " and " + to_string(b) + " do not broadcast");
    out[i] = ea == 1 ? eb : ea;
  }
  return out;
}

int64_t normalise_axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    throw Error(ErrorCode::kInvalidArgument,
                "axis " + std::to_string(axis) + " lies outside a tensor of " + std::to_string(rank) + " dimensions");
  return axis < 0 ? axis + rank : axis;
}

// The system's zero pages: large tensors take no memory until they are written to.
Tensor::Tensor(DType dtype, Shape shape) : dtype_(dtype), shape_(std::move(shape)), count_(element_count(shape_)) {
  constexpr size_t kAlignment = 64;  // a cache line, and what vector loads like
  void* block = std::calloc(std::max<size_t>(bytes(), 1) + kAlignment, 1);
  if (!block) throw std::bad_alloc();
  void* aligned = block;
  size_t space = kAlignment + 1;
  std::align(kAlignment, 1, aligned, space);
  storage_ = std::shared_ptr<std::byte[]>(static_cast<std::byte*>(aligned), [block](std::byte*) { std::free(block); });
}

Tensor Tensor::reshaped(Shape shape) const {
  ACTMATCH_CHECK(element_count(shape) == count_, "reshape changes the number of elements");
  Tensor t = *this;
  t.shape_ = std::move(shape);
  return t;
}

void Tensor::check_type(DType wanted) const {
  ACTMATCH_CHECK(wanted == dtype_, std::string("tensor holds ") + name_of(dtype_) + ", read as " + name_of(wanted));
}

}  // namespace actmatch
