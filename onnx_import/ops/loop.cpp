#include <limits>

#include "onnx_import/ops/control_flow.h"
#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

void stack_result(NodeContext& c, std::vector<ValueId> values, int64_t axis, size_t output) {
  if (!c.output_used(output)) return;
  if (values.empty())
    throw Unsupported("it does not turn even once, so that the shape of its output " + std::to_string(output) + " is not known");
  for (ValueId& value : values) {
    Shape shape = c.shape(value);
    shape.insert(shape.begin() + normalise_axis(axis, static_cast<int64_t>(shape.size()) + 1), 1);
    value = c.reshape(value, std::move(shape));
  }
  if (values.size() == 1) return c.alias(values[0], output);
  const ConcatAttrs attrs{normalise_axis(axis, c.rank(values[0]))};
  c.result(attrs, std::move(values), output);
}

// Inputs: the most turns, the condition (either may be left out), the carried values; the body takes the turn, the condition and the
// carried values, and gives the condition, the carried values, and what is stacked over the turns.
void lower_loop(NodeContext& c) {
  c.attributes.ignore("body");
  int64_t most = std::numeric_limits<int64_t>::max();
  if (c.has(0)) {
    const Tensor& trips = c.need_constant(0, "the number of its turns");
    if (trips.count() != 1 || trips.dtype() != DType::kI64) throw Unsupported("the number of its turns must be one integer");
    most = *trips.data<int64_t>();
  }
  bool go_on = !c.has(1) || constant_truth(c, c.input(1), "its condition");
  std::vector<ValueId> carried;
  for (size_t i = 2; i < c.input_count(); ++i) carried.push_back(c.input(i));
  const size_t stacked = c.output_count() > carried.size() ? c.output_count() - carried.size() : 0;
  std::vector<std::vector<ValueId>> stacks(stacked);
  const auto too_many = [] { throw Unsupported("it turns more than " + std::to_string(kMostTurns) + " times, the limit here"); };
  const Tensor* last_condition = nullptr;
  for (int64_t turn = 0; turn < most && go_on; ++turn) {
    if (turn == kMostTurns) too_many();
    std::vector<ValueId> inputs{c.constant(Tensor::scalar(turn)), c.constant(Tensor::scalar<uint8_t>(1))};
    inputs.insert(inputs.end(), carried.begin(), carried.end());
    const std::vector<ValueId> results = c.body("body", std::to_string(turn), inputs);
    if (results.size() != 1 + carried.size() + stacked)
      throw Unsupported("its body has " + std::to_string(results.size()) + " outputs in place of " +
                        std::to_string(1 + carried.size() + stacked) + "; the file is damaged");
    go_on = constant_truth(c, results[0], "its condition");
    // What hands its condition on, or takes it from outside, turns as often as it is allowed to: no need to try.
    const Tensor* condition = c.constant(results[0]);
    if (go_on && most > kMostTurns && (results[0] == inputs[1] || condition == last_condition)) too_many();
    last_condition = condition;
    for (size_t i = 0; i < carried.size(); ++i) carried[i] = results[1 + i];
    for (size_t i = 0; i < stacked; ++i) stacks[i].push_back(results[1 + carried.size() + i]);
  }
  for (size_t i = 0; i < std::min(carried.size(), c.output_count()); ++i) c.alias(carried[i], i);
  for (size_t i = 0; i < stacked; ++i) stack_result(c, std::move(stacks[i]), 0, carried.size() + i);
}

}  // namespace actmatch::onnx_import
