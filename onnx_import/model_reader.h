// From bytes to a checked model: protobuf parsed, weights found, functions put in place of their calls, nodes in topological order.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "onnx/onnx.pb.h"
#include "onnx_import/byte_source.h"
#include "onnx_import/importer.h"
#include "onnx_import/weights.h"

namespace actmatch::onnx_import {

struct ParsedModel {
  std::string path;
  onnx::ModelProto proto;                           // without the data of the tensors in `weights`, and without functions
  std::unordered_map<std::string, int64_t> opsets;  // by domain; the default domain is ""
  int64_t opset = 0;                                // of the default domain
  std::vector<ModelInput> inputs;
  std::vector<std::vector<std::string>> input_symbols;  // by input, by axis: the name of a symbolic extent, or ""
  std::vector<bool> input_has_shape;                    // by input; a scalar has one
  Weights weights;                                      // initializers and the tensors of Constant nodes
  std::vector<std::string> external_files;              // paths
  std::unordered_set<std::string> unreadable;           // inputs and weights that `problems` speaks of
  std::vector<int> order;         // indices of graph().node() in topological order, without the Constant nodes in `weights`
  std::vector<Problem> problems;  // those that concern no node
  int64_t parameter_count = 0;

  const onnx::GraphProto& graph() const { return proto.graph(); }
};

// `in_file`: the source lives as long as the model and `path` is a file, whose folder may hold more of the model; otherwise everything is
// read at once. Throws as Model::from_file does.
std::unique_ptr<ParsedModel> read_model(std::shared_ptr<const ByteSource> source, const std::string& path, bool in_file);

// "" and "ai.onnx" are the same domain.
std::string canonical_domain(const std::string& domain);
// The operator set a node of a function was written for, where that is not the model's; 0 otherwise.
int64_t node_opset(const onnx::NodeProto& node);
void set_node_opset(onnx::NodeProto& node, int64_t opset);
// The node's own name, or "<op>_<index>".
std::string node_name(const onnx::GraphProto& graph, int index);

}  // namespace actmatch::onnx_import
