#include <algorithm>

#include "onnx_import/ops/control_flow.h"
#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

// One entry an input or output; all `otherwise` where the attribute is left out.
std::vector<int64_t> per_value(const NodeContext& c, const char* name, size_t count, int64_t low, int64_t high) {
  std::vector<int64_t> values = c.attributes.integers(name, low, high);
  if (values.empty()) values.assign(count, 0);
  if (values.size() != count)
    throw Unsupported(std::string("attribute '") + name + "' has " + std::to_string(values.size()) + " values in place of " +
                      std::to_string(count));
  return values;
}

ValueId element(NodeContext& c, ValueId x, int64_t axis, int64_t index) {
  const Shape shape = c.shape(x);
  SliceAttrs attrs{std::vector<int64_t>(shape.size(), 0), std::vector<int64_t>(shape.size(), 1), shape};
  attrs.starts[static_cast<size_t>(axis)] = index;
  attrs.sizes[static_cast<size_t>(axis)] = 1;
  Shape without = shape;
  without.erase(without.begin() + axis);
  return c.reshape(c.step(std::move(attrs), {x}), std::move(without));
}

}  // namespace

void lower_scan(NodeContext& c) {
  c.attributes.ignore("body");
  const std::vector<ValueId> inputs = c.inputs();
  const auto scanned = static_cast<size_t>(c.attributes.integer("num_scan_inputs", 1, 1, static_cast<int64_t>(inputs.size())));
  const size_t states = inputs.size() - scanned;
  if (c.output_count() < states) throw Unsupported("it has fewer outputs than states; the file is damaged");
  const size_t stacked = c.output_count() - states;
  std::vector<int64_t> axes = per_value(c, "scan_input_axes", scanned, -16, 15);
  const auto backwards = per_value(c, "scan_input_directions", scanned, 0, 1);
  const auto out_axes = per_value(c, "scan_output_axes", stacked, -16, 15);
  const auto out_backwards = per_value(c, "scan_output_directions", stacked, 0, 1);
  int64_t turns = 0;
  for (size_t i = 0; i < scanned; ++i) {
    axes[i] = normalise_axis(axes[i], c.rank(inputs[states + i]));
    const int64_t length = c.shape(inputs[states + i])[static_cast<size_t>(axes[i])];
    if (i > 0 && length != turns) throw Unsupported("the inputs it scans differ in length");
    turns = length;
  }
  if (turns > kMostTurns) throw Unsupported("it turns more than " + std::to_string(kMostTurns) + " times, the limit here");
  std::vector<ValueId> state(inputs.begin(), inputs.begin() + static_cast<std::ptrdiff_t>(states));
  std::vector<std::vector<ValueId>> stacks(stacked);
  for (int64_t turn = 0; turn < turns; ++turn) {
    std::vector<ValueId> given = state;
    for (size_t i = 0; i < scanned; ++i) given.push_back(element(c, inputs[states + i], axes[i], backwards[i] ? turns - 1 - turn : turn));
    const std::vector<ValueId> results = c.body("body", std::to_string(turn), given);
    if (results.size() != states + stacked) throw Unsupported("its body has another number of outputs; the file is damaged");
    std::copy_n(results.begin(), states, state.begin());
    for (size_t i = 0; i < stacked; ++i) stacks[i].push_back(results[states + i]);
  }
  for (size_t i = 0; i < states; ++i) c.alias(state[i], i);
  for (size_t i = 0; i < stacked; ++i) {
    if (out_backwards[i]) std::reverse(stacks[i].begin(), stacks[i].end());
    stack_result(c, std::move(stacks[i]), out_axes[i], states + i);
  }
}

}  // namespace actmatch::onnx_import
