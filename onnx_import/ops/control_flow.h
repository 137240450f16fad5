// What If, Loop and Scan share. They are followed while the file is read: the graph has none of them.
#pragma once

#include "onnx_import/node_context.h"

namespace actmatch::onnx_import {

inline constexpr int64_t kMostTurns = int64_t{1} << 12;

// A constant of one truth value; throws Unsupported otherwise.
bool constant_truth(NodeContext& c, ValueId value, const char* what);

// Stacks values of one shape along a new axis; the result is output `output` of the node.
void stack_result(NodeContext& c, std::vector<ValueId> values, int64_t axis, size_t output);

}  // namespace actmatch::onnx_import
