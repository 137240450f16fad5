#include <algorithm>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

// Repeats the input like tiles: slices picked by table, axis by axis.
ValueId wrapped(NodeContext& c, ValueId x, const PadAttrs& attrs) {
  const Shape shape = c.shape(x);
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    const int64_t before = attrs.before[axis], after = attrs.after[axis], extent = shape[axis], size = before + extent + after;
    if (before == 0 && after == 0) continue;
    if (size < 0 || (extent == 0 && size > 0) || std::max(before, after) > AttributeReader::kLargest)
      throw Unsupported("its pads do not fit the input " + to_string(shape));
    bounded_count({size});
    std::vector<int64_t> from;
    for (int64_t i = 0; i < size; ++i) from.push_back(((i - before) % extent + extent) % extent);
    x = gather(c, x, static_cast<int64_t>(axis), c.vector(from));
  }
  return x;
}

// A fill value that depends on the input is put where a padded mask says so.
ValueId filled(NodeContext& c, ValueId x, PadAttrs attrs, ValueId value) {
  const Shape shape = c.shape(x);
  bounded_count(shape);
  Tensor all(DType::kBool, shape);
  std::fill_n(all.data<uint8_t>(), all.count(), uint8_t{1});
  attrs.value = 0.0f;
  const ValueId inside = c.step(attrs, {c.constant(std::move(all))});
  return where(c, inside, c.step(attrs, {x}), c.reshape(value, {}));
}

void lower_pad(NodeContext& c, const std::vector<int64_t>& pads, std::vector<int64_t> axes, float value, ValueId computed = kNoValue) {
  const ValueId x = c.input(0);
  const int64_t rank = c.rank(x);
  if (axes.empty()) axes = axes_from(0, rank);
  if (pads.size() != 2 * axes.size())
    throw Unsupported("it has " + std::to_string(pads.size()) + " pads for " + std::to_string(axes.size()) + " axes");
  const std::string mode = c.attributes.text("mode", "constant");
  PadAttrs attrs{Shape(static_cast<size_t>(rank), 0), Shape(static_cast<size_t>(rank), 0), PadMode::kConstant, value};
  if (mode == "reflect") {
    attrs.mode = PadMode::kReflect;
  } else if (mode == "edge") {
    attrs.mode = PadMode::kEdge;
  } else if (mode != "constant" && mode != "wrap") {
    throw Unsupported("the mode '" + mode + "' is not defined");
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(normalise_axis(axes[i], rank));
    attrs.before[axis] = pads[i];
    attrs.after[axis] = pads[axes.size() + i];
  }
  if (std::all_of(pads.begin(), pads.end(), [](int64_t amount) { return amount == 0; })) return c.alias(x);
  if (mode == "wrap") return c.alias(wrapped(c, x, attrs));
  if (mode == "constant" && computed != kNoValue) return c.alias(filled(c, x, attrs, computed));
  c.result(std::move(attrs), {x});
}

void lower_with_value(NodeContext& c, std::vector<int64_t> axes) {
  const std::vector<int64_t> pads = c.integers(1, "the list of pads");
  if (!c.has(2)) return lower_pad(c, pads, std::move(axes), 0.0f);
  if (c.constant(c.input(2))) return lower_pad(c, pads, std::move(axes), c.number(2, "the pad value"));
  lower_pad(c, pads, std::move(axes), 0.0f, c.input(2));
}

}  // namespace

void lower_pad_2(NodeContext& c) { lower_pad(c, c.attributes.integers("pads"), {}, c.attributes.number("value", 0.0f)); }
void lower_pad_11(NodeContext& c) { lower_with_value(c, {}); }
void lower_pad_18(NodeContext& c) { lower_with_value(c, c.has(3) ? c.integers(3, "the list of axes") : std::vector<int64_t>{}); }

}  // namespace actmatch::onnx_import
