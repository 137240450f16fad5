#include <algorithm>

#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

// Shapes are known when a graph is built. Since opset 15 a part of the shape can be asked for.
void lower_shape(NodeContext& c) {
  const Shape& shape = c.shape(c.input(0));
  const auto rank = static_cast<int64_t>(shape.size());
  const auto position = [&](int64_t p) { return std::clamp<int64_t>(p < 0 ? p + rank : p, 0, rank); };
  const int64_t start = position(c.attributes.integer("start", 0)), end = position(c.attributes.integer("end", rank));
  const Shape part(shape.begin() + start, shape.begin() + std::max(start, end));
  c.constant_result(Tensor::of<int64_t>({static_cast<int64_t>(part.size())}, part));
}

void lower_size(NodeContext& c) { c.constant_result(Tensor::scalar<int64_t>(element_count(c.shape(c.input(0))))); }

}  // namespace actmatch::onnx_import
