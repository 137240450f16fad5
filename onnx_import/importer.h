// Reading ONNX classifiers: a parsed file (Model) from which graphs of any batch size are built.
// Supported operators and opsets: SUPPORTED_OPS.md in this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/graph/graph.h"

namespace actmatch::onnx_import {

struct ModelInput {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;   // -1 = symbolic; empty also where the file gives no shape at all
  bool stored_as_half = false;  // float16 or bfloat16 in the file; the graph takes f32
};

// One thing in a file that this importer cannot do. `node` and `op` are empty where it concerns the file as a whole.
struct Problem {
  std::string node, op, message;
  int64_t opset = 0;
};

struct BuildOptions {
  // 0: as declared, a dynamic batch becomes 1. n >= 1: axis 0 of every image-like input (4-D f32) becomes n, also where the file
  // declares 1, and so does every dynamic batch.
  int64_t batch = 0;
  std::map<std::string, Shape> input_shapes;   // explicit shapes by input name; they override the file and `batch`
  std::vector<std::string> keep_values;        // value names that must survive as values of nodes (taps)
  std::vector<std::string> outputs;            // names of values that become the graph's outputs in place of the file's
  std::map<std::string, double> fixed_inputs;  // inputs that become constants with this value in all elements
  // The input that takes a picture: of floats in the graph, whatever the file says, and counted as image-like above. Where the file has its
  // channels last (N x H x W x C) the graph's input has them first; shapes in these options are those of the file.
  std::string picture;
  bool picture_channels_last = false;
  // The graph is only looked at: the elements of large weights are not read and may be anything.
  bool structure_only = false;
  // Inputs whose values operators may take for granted, as if the file held them. They remain inputs of the graph, which nothing reads.
  std::map<std::string, Tensor> constant_inputs;
};

// Seconds that the parts of a build took.
struct BuildTimes {
  double lower = 0, optimise = 0;  // reading weights is part of the first
};

// A parsed file. Copies share it; const members may be called from several threads.
class Model {
 public:
  // Both throw Error: kNotFound, kIo, kFormat (not an ONNX file, truncated, inconsistent), kUnsupported. The file is kept open: large
  // weights are read from it when a graph is first built. Files of weights are found beside it.
  static Model from_file(const std::string& path);
  // Everything is read at once; weights in other files are refused.
  static Model from_bytes(std::span<const std::byte> bytes, const std::string& name);

  // The inputs the caller supplies; initializers that old files list as inputs are left out.
  const std::vector<ModelInput>& inputs() const;
  std::vector<std::string> output_names() const;
  int64_t ir_version() const;
  int64_t opset() const;  // of the default domain
  std::string producer() const;
  const std::string& path() const;
  std::map<std::string, int> operator_counts() const;  // ONNX operator type -> number of nodes
  // Everything unsupported; empty = fine. Found by lowering the file once at its declared size; the result is kept.
  std::vector<Problem> problems() const;
  // What was understood in another way than the file says, and what will give trouble when it runs: quantisation taken out, weights that
  // are no finite numbers. One line each.
  // `of_weights` false leaves the second kind out, for which all weights are read.
  std::vector<std::string> notices(bool of_weights = true) const;
  int64_t parameter_count() const;                         // elements of float initializers
  const std::vector<std::string>& external_files() const;  // paths of the files of weights

  // The graph, optimised, with the file's outputs in their order. Weights are shared between all graphs of one Model.
  // Throws kUnsupported with all problems in one line, kInvalidArgument where an input has no fixed size and none is given, or where
  // `options` names a value that does not exist.
  Graph build(const BuildOptions& options = {}, BuildTimes* times = nullptr) const;

 private:
  struct Impl;
  explicit Model(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace actmatch::onnx_import
