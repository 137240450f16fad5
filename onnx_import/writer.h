// Writing a graph as an ONNX file: for nets that were trained here and are to run elsewhere.
#pragma once

#include <map>
#include <string>

#include "engine/graph/graph.h"

namespace actmatch::onnx_import {

struct WriteOptions {
  std::string name;                             // of the graph
  std::string batch = "N";                      // name of the free first axis of all inputs and outputs
  std::map<std::string, std::string> metadata;  // becomes metadata_props
};

// The file's bytes: opset 13, IR version 7, weights inside, the first axis of inputs and outputs free. Constants and parameters become
// initializers. What is written: convolutions and transposed ones, pooling, activations, arithmetic, means, concatenation,
// padding, slices, upsampling; of none of them anything that counts on the size of the batch. Throws kUnsupported naming the node
// otherwise.
std::string write_model(const Graph& graph, const WriteOptions& options);

// metadata_props of a file; empty where it has none or is no ONNX file. Throws kNotFound, kIo.
std::map<std::string, std::string> read_metadata(const std::string& path);

}  // namespace actmatch::onnx_import
