// Shape rules of pooling, resizing and reductions.
#include "engine/graph/op_rules.h"

namespace actmatch {

InferredValue infer_pool(const Attributes& attrs, Inputs inputs) {
  const auto& a = std::get<PoolAttrs>(attrs);
  require_dtype(*inputs[0], DType::kF32, "the input");
  require_rank(*inputs[0], 4, "the input");
  const Shape& x = inputs[0]->shape;
  Shape y = x;
  for (size_t i = 0; i < 2; ++i) {
    require_in_range(a.kernel[i], 1, kLargestAttribute, "kernel extent");
    require_in_range(a.strides[i], 1, kLargestAttribute, "stride");
    require_in_range(a.dilations[i], 1, kLargestAttribute, "dilation");
    const int64_t window = a.dilations[i] * (a.kernel[i] - 1) + 1;
    // A window of padding only has no maximum and no mean.
    for (int64_t pad : {a.pads[i], a.pads[2 + i]}) require_in_range(pad, 0, std::min(window - 1, kLargestAttribute), "pad");
    const int64_t padded = x[2 + i] + a.pads[i] + a.pads[2 + i];
    if (x[2 + i] < 1 || padded < window)
      misfit("the window spans " + std::to_string(window) + " positions but the padded input only has " + std::to_string(padded) +
             " (input " + to_string(x) + ")");
    y[2 + i] = (padded - window + (a.ceil_mode ? a.strides[i] - 1 : 0)) / a.strides[i] + 1;
    // The last window has to start inside the input or the padding before it.
    if (a.ceil_mode && (y[2 + i] - 1) * a.strides[i] >= x[2 + i] + a.pads[i]) --y[2 + i];
  }
  return {DType::kF32, y};
}

InferredValue infer_resize(const Attributes& attrs, Inputs inputs) {
  const auto& a = std::get<ResizeAttrs>(attrs);
  require_dtype(*inputs[0], DType::kF32, "the input");
  require_rank(*inputs[0], 4, "the input");
  require_in_range(a.height, 1, kLargestAttribute, "height");
  require_in_range(a.width, 1, kLargestAttribute, "width");
  const Shape& x = inputs[0]->shape;
  if (x[2] < 1 || x[3] < 1) misfit("nothing to resize in an input of shape " + to_string(x));
  return {DType::kF32, {x[0], x[1], a.height, a.width}};
}

InferredValue infer_top_k(const Attributes& attrs, Inputs inputs) {
  const auto& a = std::get<TopKAttrs>(attrs);
  if (inputs[0]->dtype == DType::kBool) misfit("bool values have no order; cast them first");
  Shape y = inputs[0]->shape;
  if (a.axis < 0 || a.axis >= static_cast<int64_t>(y.size()))
    misfit("axis " + std::to_string(a.axis) + " lies outside the input of shape " + to_string(y));
  int64_t& extent = y[static_cast<size_t>(a.axis)];
  if (a.k < 0 || a.k > extent)
    misfit(std::to_string(a.k) + " elements of axis " + std::to_string(a.axis) + " of the input " + to_string(inputs[0]->shape) +
           " are asked for, which has not as many");
  extent = a.k;
  return {DType::kI64, y};
}

InferredValue infer_reduce(const Attributes& attrs, Inputs inputs) {
  const auto& a = std::get<ReduceAttrs>(attrs);
  if (inputs[0]->dtype == DType::kBool) misfit("bool values have no sum, mean, maximum or minimum; cast them first");
  const Shape& x = inputs[0]->shape;
  const auto rank = static_cast<int64_t>(x.size());
  std::vector<bool> reduced(x.size());
  int64_t previous = -1;
  for (int64_t axis : a.axes) {
    if (axis <= previous || axis >= rank)
      misfit("the axes to reduce must ascend and lie inside the input " + to_string(x) + "; axis " + std::to_string(axis) + " does not");
    previous = axis;
    reduced[static_cast<size_t>(axis)] = true;
    if (x[static_cast<size_t>(axis)] == 0 && a.kind != ReduceKind::kSum)
      misfit("axis " + std::to_string(axis) + " of the input " + to_string(x) + " is empty: only a sum can be taken over it");
  }
  Shape y;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!reduced[i])
      y.push_back(x[i]);
    else if (a.keep_dims)
      y.push_back(1);
  }
  return {inputs[0]->dtype, y};
}

}  // namespace actmatch
