// How a value of the graph lies in device memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/tensor.h"
#include "kernels/cuda_ops.h"

namespace actmatch::cuda {

using kernels::bfloat16;
using kernels::Clip;
using kernels::cuda::Dims;

// The axes keep the graph's order everywhere; a layout says in which order they lie in memory.
enum class Layout : uint8_t {
  kRows,          // row-major: NCHW
  kChannelsLast,  // the third axis from the end runs fastest: NHWC for a feature map, KRSC for weights (the instances stay in front)
};
enum class Store : uint8_t { kF32, kBf16, kI64, kBool };

struct Form {
  Layout layout = Layout::kRows;
  Store store = Store::kF32;
  bool operator==(const Form&) const = default;
};

constexpr size_t size_of(Store store) { return store == Store::kF32 ? 4 : store == Store::kBf16 ? 2 : store == Store::kI64 ? 8 : 1; }
template <class T>
constexpr Store store_of();
template <>
constexpr Store store_of<float>() {
  return Store::kF32;
}
template <>
constexpr Store store_of<bfloat16>() {
  return Store::kBf16;
}
template <>
constexpr Store store_of<int64_t>() {
  return Store::kI64;
}
template <>
constexpr Store store_of<uint8_t>() {
  return Store::kBool;
}

// Calls body(T{}) with the type that is stored.
template <class Body>
decltype(auto) with_type(Store store, const Body& body) {
  switch (store) {
    case Store::kBf16: return body(bfloat16{});
    case Store::kI64: return body(int64_t{});
    case Store::kBool: return body(uint8_t{});
    case Store::kF32: break;
  }
  return body(float{});
}
template <class Body>
decltype(auto) with_real(Store store, const Body& body) {
  return store == Store::kBf16 ? body(bfloat16{}) : body(float{});
}

// Elements from one index of an axis to the next.
std::vector<int64_t> strides_of(const Shape& shape, Layout layout);
// The bytes are the same in both layouts: one of the axes that change places is the only one longer than 1.
bool same_in_both_layouts(const Shape& shape);
// Strides of `shape` along the axes of the shape `out` that it broadcasts to; 0 where it is repeated.
std::vector<int64_t> broadcast_strides(const Shape& shape, Layout layout, const Shape& out);
// Channels-last where `shape` has a place for it; otherwise rows.
inline bool can_be_channels_last(const Shape& shape) { return shape.size() >= 3; }

}  // namespace actmatch::cuda
