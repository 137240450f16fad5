#include "onnx_import/ops/rebatch.h"

namespace actmatch::onnx_import {

std::optional<Growth> find_growth(const Shape& declared, const Shape& actual) {
  if (declared.size() != actual.size()) return std::nullopt;
  std::optional<Growth> growth;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (declared[i] == actual[i]) continue;
    if (growth || declared[i] < 1) return std::nullopt;
    growth = Growth{i, declared[i], actual[i]};
  }
  return growth;
}

std::optional<Shape> grow_reshape(const Shape& declared, const Growth& growth, const Shape& target) {
  int64_t before = 1;
  for (size_t i = 0; i < growth.axis; ++i) before *= declared[i];
  int64_t passed = 1;
  for (size_t axis = 0; axis < target.size(); passed *= target[axis++]) {
    if (passed != before) continue;
    // The extent holds the batch, perhaps together with axes behind it (heads of a transformer), or only the batch's outer part.
    int64_t grown = 0;
    if (__builtin_mul_overflow(target[axis], growth.to, &grown) || grown % growth.from != 0) return std::nullopt;
    Shape result = target;
    result[axis] = grown / growth.from;
    return result;
  }
  return std::nullopt;
}

}  // namespace actmatch::onnx_import
