// Shape rules of operators that move elements without computing with them.
#include <limits>

#include "engine/graph/op_rules.h"

namespace actmatch {
namespace {

void require_entries(size_t entries, const Shape& x, const char* role) {
  if (entries != x.size())
    misfit(std::string(role) + " has " + std::to_string(entries) + " entries, but the input " + to_string(x) + " has " +
           std::to_string(x.size()) + " dimensions");
}

void require_axis(int64_t axis, const Shape& x) {
  if (axis < 0 || axis >= static_cast<int64_t>(x.size()))
    misfit("axis " + std::to_string(axis) + " lies outside the input of shape " + to_string(x));
}

}  // namespace

InferredValue infer_concat(const Attributes& attrs, Inputs inputs) {
  const int64_t axis = std::get<ConcatAttrs>(attrs).axis;
  Shape y = inputs[0]->shape;
  require_axis(axis, y);
  const auto along = static_cast<size_t>(axis);
  for (const Value* x : inputs.subspan(1)) {
    if (!x) misfit("an input is left out");
    require_dtype(*x, inputs[0]->dtype, "the input");
    Shape expected = y;
    if (x->shape.size() == y.size()) expected[along] = x->shape[along];
    if (x->shape != expected)
      misfit("inputs of shapes " + to_string(inputs[0]->shape) + " and " + to_string(x->shape) + " cannot be joined along axis " +
             std::to_string(axis));
    y[along] += x->shape[along];
  }
  return {inputs[0]->dtype, y};
}

InferredValue infer_reshape(const Attributes& attrs, Inputs inputs) {
  const Shape &x = inputs[0]->shape, &y = std::get<ReshapeAttrs>(attrs).shape;
  if (element_count(x) != element_count(y))
    misfit("an input of shape " + to_string(x) + " (" + std::to_string(element_count(x)) + " elements) cannot be reshaped to " +
           to_string(y) + " (" + std::to_string(element_count(y)) + " elements)");
  return {inputs[0]->dtype, y};
}

InferredValue infer_transpose(const Attributes& attrs, Inputs inputs) {
  const auto& perm = std::get<TransposeAttrs>(attrs).perm;
  const Shape& x = inputs[0]->shape;
  require_entries(perm.size(), x, "the permutation");
  std::vector<bool> used(x.size());
  Shape y(x.size());
  for (size_t i = 0; i < perm.size(); ++i) {
    require_axis(perm[i], x);
    const auto from = static_cast<size_t>(perm[i]);
    if (used[from]) misfit("axis " + std::to_string(perm[i]) + " appears twice in the permutation of an input of shape " + to_string(x));
    used[from] = true;
    y[i] = x[from];
  }
  return {inputs[0]->dtype, y};
}

InferredValue infer_slice(const Attributes& attrs, Inputs inputs) {
  const auto& a = std::get<SliceAttrs>(attrs);
  const Shape& x = inputs[0]->shape;
  require_entries(a.starts.size(), x, "starts");
  require_entries(a.steps.size(), x, "steps");
  require_entries(a.sizes.size(), x, "sizes");
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t start = a.starts[i], step = a.steps[i], size = a.sizes[i];
    bool inside = step != 0 && step > std::numeric_limits<int64_t>::min() && size >= 0;
    if (inside && size > 0) {
      const int64_t room = step > 0 ? x[i] - 1 - start : start;
      inside = start >= 0 && start < x[i] && size - 1 <= room / (step > 0 ? step : -step);
    }
    if (!inside)
      misfit("slice of axis " + std::to_string(i) + " leaves the input of shape " + to_string(x) + " (start " + std::to_string(start) +
             ", step " + std::to_string(step) + ", size " + std::to_string(size) + ")");
  }
  return {inputs[0]->dtype, a.sizes};
}

InferredValue infer_pad(const Attributes& attrs, Inputs inputs) {
  const auto& a = std::get<PadAttrs>(attrs);
  Shape y = inputs[0]->shape;
  require_entries(a.before.size(), y, "the list of pads before");
  require_entries(a.after.size(), y, "the list of pads after");
  for (size_t i = 0; i < y.size(); ++i) {
    const int64_t extent = y[i];
    for (int64_t amount : {a.before[i], a.after[i]}) {
      require_in_range(amount, -std::min(extent, kLargestAttribute), kLargestAttribute, "pad");
      if (a.mode == PadMode::kReflect && amount >= extent && amount > 0)
        misfit("a reflection of " + std::to_string(amount) + " elements needs an axis longer than that; axis " + std::to_string(i) +
               " of the input " + to_string(inputs[0]->shape) + " is not");
      if (a.mode == PadMode::kEdge && amount > 0 && extent == 0)
        misfit("axis " + std::to_string(i) + " of the input " + to_string(inputs[0]->shape) + " is empty and has no edge to repeat");
    }
    y[i] = extent + a.before[i] + a.after[i];
    if (y[i] < 0)
      misfit("pads " + std::to_string(a.before[i]) + " and " + std::to_string(a.after[i]) + " crop more than axis " + std::to_string(i) +
             " of the input " + to_string(inputs[0]->shape) + " has");
  }
  return {inputs[0]->dtype, y};
}

InferredValue infer_gather(const Attributes& attrs, Inputs inputs) {
  const int64_t axis = std::get<GatherAttrs>(attrs).axis;
  const Value &x = *inputs[0], &indices = *inputs[1];
  require_axis(axis, x.shape);
  require_dtype(indices, DType::kI64, "the indices");
  if (indices.constant) {
    const int64_t extent = x.shape[static_cast<size_t>(axis)];
    for (int64_t index : indices.constant->view<int64_t>())
      if (index < -extent || index >= extent)
        misfit("index " + std::to_string(index) + " of '" + indices.name + "' lies outside axis " + std::to_string(axis) +
               " of the input " + to_string(x.shape));
  }
  Shape y(x.shape.begin(), x.shape.begin() + axis);
  y.insert(y.end(), indices.shape.begin(), indices.shape.end());
  y.insert(y.end(), x.shape.begin() + axis + 1, x.shape.end());
  return {x.dtype, y};
}

InferredValue infer_expand(const Attributes& attrs, Inputs inputs) {
  const Shape &x = inputs[0]->shape, &y = std::get<ExpandAttrs>(attrs).shape;
  bool fits = x.size() <= y.size();
  for (size_t i = 0; fits && i < x.size(); ++i) {
    const int64_t to = y[y.size() - x.size() + i];
    fits = x[i] == to || x[i] == 1;
  }
  if (!fits) misfit("an input of shape " + to_string(x) + " cannot be expanded to " + to_string(y));
  return {inputs[0]->dtype, y};
}

}  // namespace actmatch
