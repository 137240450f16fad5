// One row per operator: everything the shared part of the engine knows about it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/graph/graph.h"

namespace actmatch {

struct InferredValue {
  DType dtype = DType::kF32;
  Shape shape;
};

// What the backward pass of a node reads besides the gradient of its output.
struct BackwardNeeds {
  std::vector<bool> inputs;  // by input position
  bool output = false;
};

struct OpInfo {
  OpKind kind;
  const char* name;
  int min_inputs, max_inputs;  // max -1: any number
  // Type and shape of the output from those of the inputs (a null pointer for an input left out); throws kInvalidArgument.
  InferredValue (*infer)(const Attributes& attrs, std::span<const Value* const> inputs);
  // Bit i set: the output is differentiable with respect to input i (bits past 31 repeat bit 31). 0 for comparisons, casts to integers, ...
  uint32_t (*differentiable)(const Attributes& attrs);
  // `wanted`: by input position, which gradients are asked for.
  BackwardNeeds (*needs)(const Attributes& attrs, const std::vector<bool>& wanted);
  // Constant folding: the result on the host; null when this operator is not evaluated there.
  Tensor (*evaluate)(const Attributes& attrs, std::span<const Tensor* const> inputs, const InferredValue& out);
  // Multiply-adds of one execution.
  int64_t (*multiply_adds)(const Graph& graph, const Node& node);
};

const OpInfo& op_info(OpKind kind);
std::span<const OpInfo> all_ops();

}  // namespace actmatch
