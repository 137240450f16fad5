#include <cmath>

#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

int64_t checked_count(double count) {
  if (!(count <= static_cast<double>(NodeContext::kMostElements)))
    throw Unsupported("it has more than " + std::to_string(NodeContext::kMostElements) + " elements");
  return count > 0 ? static_cast<int64_t>(count) : 0;
}

}  // namespace

void lower_range(NodeContext& c) {
  const Tensor &start = c.need_constant(0, "the start"), &limit = c.need_constant(1, "the limit"), &delta = c.need_constant(2, "the step");
  if (start.count() != 1 || limit.count() != 1 || delta.count() != 1) throw Unsupported("start, limit and step must be single numbers");
  if (start.dtype() != limit.dtype() || start.dtype() != delta.dtype() || start.dtype() == DType::kBool)
    throw Unsupported("start, limit and step must be numbers of one type");
  if (start.dtype() == DType::kF32) {
    const double first = *start.data<float>(), last = *limit.data<float>(), step = *delta.data<float>();
    if (step == 0) throw Unsupported("the step is 0");
    Tensor result(DType::kF32, {checked_count(std::ceil((last - first) / step))});
    for (int64_t i = 0; i < result.count(); ++i) result.data<float>()[i] = static_cast<float>(first + static_cast<double>(i) * step);
    return c.constant_result(std::move(result));
  }
  const int64_t first = *start.data<int64_t>(), last = *limit.data<int64_t>(), step = *delta.data<int64_t>();
  constexpr int64_t kBound = int64_t{1} << 52;  // exact in double as well
  if (step == 0) throw Unsupported("the step is 0");
  for (int64_t value : {first, last, step})
    if (value < -kBound || value > kBound) throw Unsupported("the number " + std::to_string(value) + " is out of range");
  const int64_t span = step > 0 ? last - first : first - last, stride = step > 0 ? step : -step;
  Tensor result(DType::kI64, {span > 0 ? checked_count(static_cast<double>((span + stride - 1) / stride)) : 0});
  for (int64_t i = 0; i < result.count(); ++i) result.data<int64_t>()[i] = first + i * step;
  c.constant_result(std::move(result));
}

}  // namespace actmatch::onnx_import
