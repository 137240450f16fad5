// From bytes to a checked model: protobuf parsed, weights converted, nodes put in topological order.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "google/protobuf/io/zero_copy_stream.h"
#include "onnx/onnx.pb.h"
#include "onnx_import/importer.h"

namespace actmatch::onnx_import {

struct ParsedModel {
  std::string path;
  onnx::ModelProto proto;                           // the data of the tensors in `weights` is released
  std::unordered_map<std::string, int64_t> opsets;  // by domain; the default domain is ""
  int64_t opset = 0;                                // of the default domain
  std::vector<ModelInput> inputs;
  std::vector<std::vector<std::string>> input_symbols;  // by input, by axis: the name of a symbolic extent, or ""
  std::vector<bool> input_has_shape;                    // by input; a scalar has one
  // Initializers and the tensors of Constant nodes, by value name.
  std::unordered_map<std::string, std::shared_ptr<const Tensor>> weights;
  std::unordered_set<std::string> unreadable;  // inputs and weights that `problems` speaks of
  std::vector<int> order;                      // indices of graph().node() in topological order, without the Constant nodes in `weights`
  std::vector<Problem> problems;               // those that concern no node
  int64_t parameter_count = 0;

  const onnx::GraphProto& graph() const { return proto.graph(); }
};

// `size`: bytes of the whole stream; `head`: the first of them. Throws as Model::from_file does.
std::unique_ptr<ParsedModel> read_model(google::protobuf::io::ZeroCopyInputStream& stream, uint64_t size, std::string_view head,
                                        const std::string& path);

// "" and "ai.onnx" are the same domain.
std::string canonical_domain(const std::string& domain);
// The node's own name, or "<op>_<index>".
std::string node_name(const onnx::GraphProto& graph, int index);

}  // namespace actmatch::onnx_import
