#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

template <class T>
Tensor non_zero(const Tensor& x) {
  const std::vector<int64_t> strides = row_major_strides(x.shape());
  std::vector<int64_t> found;
  for (int64_t i = 0; i < x.count(); ++i)
    if (x.data<T>()[i] != T{0}) found.push_back(i);
  const auto rank = static_cast<int64_t>(x.shape().size()), count = static_cast<int64_t>(found.size());
  bounded_count({rank, count});
  Tensor result(DType::kI64, {rank, count});
  for (int64_t axis = 0; axis < rank; ++axis)
    for (int64_t j = 0; j < count; ++j) {
      const auto a = static_cast<size_t>(axis);
      result.data<int64_t>()[axis * count + j] = found[static_cast<size_t>(j)] / strides[a] % x.shape()[a];
    }
  return result;
}

}  // namespace

// Only of constants: the size of the result is part of the graph.
void lower_non_zero(NodeContext& c) {
  const Tensor& x = c.need_constant(0, "its input");
  switch (x.dtype()) {
    case DType::kF32: return c.constant_result(non_zero<float>(x));
    case DType::kI64: return c.constant_result(non_zero<int64_t>(x));
    case DType::kBool: return c.constant_result(non_zero<uint8_t>(x));
  }
}

}  // namespace actmatch::onnx_import
