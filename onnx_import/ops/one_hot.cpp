#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {

// Along a new axis: values[1] where its position is the index, values[0] elsewhere. Indices outside [-depth, depth) meet no position.
void lower_one_hot(NodeContext& c) {
  const ValueId indices = c.cast(c.input(0), DType::kI64), values = c.input(2);
  const float stated = c.number(1, "the depth");  // may be a float, even one that is no number
  if (!(stated >= 1 && stated <= static_cast<float>(AttributeReader::kLargest)))
    throw Unsupported("the depth " + std::to_string(stated) + " is out of range");
  const auto depth = static_cast<int64_t>(stated);
  if (c.shape(values) != Shape{2}) throw Unsupported("its values have the shape " + to_string(c.shape(values)) + "; they must be two");
  const auto axis = normalise_axis(c.attributes.integer("axis", -1), c.rank(indices) + 1);
  Shape spread = c.shape(indices), along(spread.size() + 1, 1);
  spread.insert(spread.begin() + axis, 1);
  along[static_cast<size_t>(axis)] = depth;
  const ValueId numbers = c.reshape(positions(c, depth), along);
  const ValueId hit = binary(c, BinaryKind::kEqual, c.reshape(wrap_negative(c, indices, depth), spread), numbers);
  const auto value = [&](int64_t i) { return c.reshape(slice(c, values, 0, i, 1), {}); };
  c.result(WhereAttrs{}, {hit, value(1), value(0)});
}

}  // namespace actmatch::onnx_import
