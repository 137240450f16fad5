// Functions that a file defines itself, put in place of their calls.
#pragma once

#include "onnx_import/model_reader.h"

namespace actmatch::onnx_import {

// Afterwards no node of the graph calls one. Nodes that came from a function with another operator set than the model's carry its version
// (node_opset). Throws kFormat for a function that calls itself or is defined twice, kUnsupported where the calls come to too many nodes.
void inline_functions(ParsedModel& model);

}  // namespace actmatch::onnx_import
