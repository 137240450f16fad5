// Names of values inside of nodes that hold graphs of their own (the branches of If, the body of Loop).
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "onnx/onnx.pb.h"

namespace actmatch::onnx_import {

using Renaming = std::unordered_map<std::string, std::string>;

// Names that the node's subgraphs read and do not define themselves.
std::vector<std::string> captured_values(const onnx::NodeProto& node);

// Renames what the node reads and writes, also where its subgraphs capture it. Names that are not in `names` stay.
void rename_values(onnx::NodeProto& node, const Renaming& names);

}  // namespace actmatch::onnx_import
