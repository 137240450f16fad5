#include <algorithm>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/rebatch.h"

namespace actmatch::onnx_import {
namespace {

// A constant with the declared batch, joined with values of another one, is repeated (the class token of a transformer).
ValueId repeat_for_batch(NodeContext& c, ValueId x, const Shape& fullest, size_t along) {
  Shape wanted = c.shape(x);
  for (size_t i = 0; i < wanted.size(); ++i)
    if (i != along && wanted[i] == 1) wanted[i] = fullest[i];
  return wanted == c.shape(x) ? x : c.step(ExpandAttrs{wanted}, {x});
}

void lower_along(NodeContext& c, int64_t default_axis) {
  std::vector<ValueId> inputs = c.inputs();
  const Shape first = c.shape(inputs[0]);
  ConcatAttrs attrs{normalise_axis(c.attributes.integer("axis", default_axis), c.rank(inputs[0]))};
  const auto along = static_cast<size_t>(attrs.axis);
  const bool same_rank = std::all_of(inputs.begin(), inputs.end(), [&](ValueId x) { return c.shape(x).size() == first.size(); });
  if (c.declared_shape(0) && same_rank) {
    Shape fullest = first;
    for (ValueId x : inputs)
      for (size_t i = 0; i < fullest.size(); ++i) fullest[i] = std::max(fullest[i], c.shape(x)[i]);
    for (ValueId& x : inputs) x = repeat_for_batch(c, x, fullest, along);
  }
  if (same_rank && inputs.size() > 1) {  // empty parts only trouble the backends
    std::vector<ValueId> parts;
    std::copy_if(inputs.begin(), inputs.end(), std::back_inserter(parts), [&](ValueId x) { return c.shape(x)[along] != 0; });
    if (!parts.empty()) inputs = std::move(parts);
  }
  if (inputs.size() == 1) return c.alias(inputs[0]);
  c.result(attrs, std::move(inputs));
}

}  // namespace

void lower_concat_1(NodeContext& c) { lower_along(c, 1); }
void lower_concat_4(NodeContext& c) { lower_along(c, 0); }

}  // namespace actmatch::onnx_import
