#include <algorithm>

#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

void lower_pad(NodeContext& c, const std::vector<int64_t>& pads, std::vector<int64_t> axes, float value) {
  const ValueId x = c.input(0);
  const int64_t rank = c.rank(x);
  if (axes.empty())
    for (int64_t i = 0; i < rank; ++i) axes.push_back(i);
  if (pads.size() != 2 * axes.size())
    throw Unsupported("it has " + std::to_string(pads.size()) + " pads for " + std::to_string(axes.size()) + " axes");
  const std::string mode = c.attributes.text("mode", "constant");
  PadAttrs attrs{Shape(static_cast<size_t>(rank), 0), Shape(static_cast<size_t>(rank), 0), PadMode::kConstant, value};
  if (mode == "reflect") {
    attrs.mode = PadMode::kReflect;
  } else if (mode == "edge") {
    attrs.mode = PadMode::kEdge;
  } else if (mode != "constant") {
    throw Unsupported("the mode '" + mode + "' is not supported; constant, reflect and edge are");
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(normalise_axis(axes[i], rank));
    attrs.before[axis] = pads[i];
    attrs.after[axis] = pads[axes.size() + i];
  }
  if (std::all_of(pads.begin(), pads.end(), [](int64_t amount) { return amount == 0; })) return c.alias(x);
  c.result(std::move(attrs), {x});
}

float pad_value(const NodeContext& c) { return c.has(2) ? c.number(2, "the pad value") : 0.0f; }

}  // namespace

void lower_pad_2(NodeContext& c) { lower_pad(c, c.attributes.integers("pads"), {}, c.attributes.number("value", 0.0f)); }

void lower_pad_11(NodeContext& c) { lower_pad(c, c.integers(1, "the list of pads"), {}, pad_value(c)); }

void lower_pad_18(NodeContext& c) {
  lower_pad(c, c.integers(1, "the list of pads"), c.has(3) ? c.integers(3, "the list of axes") : std::vector<int64_t>{}, pad_value(c));
}

}  // namespace actmatch::onnx_import
