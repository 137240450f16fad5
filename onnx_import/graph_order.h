// The order in which the nodes of a file can be executed, and the checks that there is one.
#pragma once

#include <vector>

#include "onnx_import/model_reader.h"

namespace actmatch::onnx_import {

// Node indices, each after the producers of its inputs; the file's own order where that is possible. Throws kFormat, naming the values:
// a value defined twice, values used but defined nowhere (all of them), a cycle, an output that nothing defines.
std::vector<int> topological_order(const ParsedModel& model);

}  // namespace actmatch::onnx_import
