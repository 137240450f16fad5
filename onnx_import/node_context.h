// What the function that lowers one ONNX node sees: its inputs, attributes and outputs, and the graph it adds to.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "engine/graph/graph.h"
#include "onnx_import/attributes.h"

namespace actmatch::onnx_import {

class GraphBuilder;

// Thrown while one node is lowered; the builder turns it into a Problem of that node and goes on with the others.
class Unsupported : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class NodeContext {
 public:
  static constexpr int64_t kMostElements = int64_t{1} << 25;  // of a constant made here

  NodeContext(GraphBuilder& builder, const onnx::NodeProto& node, std::string name, int64_t opset);

  const AttributeReader attributes;
  int64_t opset() const { return opset_; }
  const std::string& op() const { return node_.op_type(); }

  // Inputs by position. Trailing ones that are left out do not count.
  size_t input_count() const;
  bool has(size_t index) const;
  ValueId input(size_t index) const;                         // throws when it is left out
  std::vector<ValueId> inputs() const;                       // all; none may be left out
  const std::vector<ValueId>& sequence(size_t index) const;  // throws when the input is none
  bool is_sequence(size_t index) const;
  const Shape& shape(ValueId value) const;
  int64_t rank(ValueId value) const { return static_cast<int64_t>(shape(value).size()); }
  DType dtype(ValueId value) const;
  // The same input's shape when the file is built at its declared size; null where no other batch was asked for.
  const Shape* declared_shape(size_t index) const;
  const Shape* declared_output() const;         // the same for output 0
  const Tensor* constant(ValueId value) const;  // null when it depends on the model's inputs
  const Tensor& need_constant(size_t index, const char* what) const;
  std::vector<int64_t> integers(size_t index, const char* what) const;  // of a constant of rank 0 or 1
  float number(size_t index, const char* what) const;                   // of a constant with one element

  // The same value as floats: read from the file as such where it holds integers of at most 8 bits.
  ValueId float_input(size_t index);
  bool is_float(size_t index) const;        // by the file's types alone: reads nothing
  int32_t stored_type(size_t index) const;  // the ONNX element type of a constant of the file; 0 where that is not known
  bool structure_only() const;              // the elements of large constants mean nothing
  // A graph inside of the node, lowered with these inputs (see GraphBuilder::lower_body); `turn` makes its names unique.
  std::vector<ValueId> body(const char* attribute, const std::string& turn, const std::vector<ValueId>& inputs);
  std::vector<ValueId> body(const onnx::GraphProto& graph, const std::string& turn, const std::vector<ValueId>& inputs);
  void note(const std::string& text);  // a notice about the model

  // Outputs. `result` ends the lowering of an output with a node of the graph, `alias` with a value that exists already.
  size_t output_count() const { return static_cast<size_t>(node_.output_size()); }
  bool output_used(size_t index) const;
  void refuse_output(size_t index, const char* what) const;  // throws when it is used
  void result(Attributes attrs, std::vector<ValueId> inputs, size_t output = 0);
  void alias(ValueId value, size_t output = 0);
  void sequence_result(std::vector<ValueId> values);
  void constant_result(Tensor tensor) { alias(constant(std::move(tensor), true)); }

  // Values in between.
  ValueId step(Attributes attrs, std::vector<ValueId> inputs);
  ValueId constant(Tensor tensor, bool is_result = false);
  ValueId scalar(float value) { return constant(Tensor::scalar(value)); }
  ValueId vector(const std::vector<int64_t>& values);
  ValueId reshape(ValueId value, Shape shape);  // the value itself where it has that shape already
  ValueId cast(ValueId value, DType to);

 private:
  GraphBuilder& builder_;
  const onnx::NodeProto& node_;
  const std::string name_;
  const int64_t opset_;
  int steps_ = 0;
};

std::vector<int64_t> to_integers(const Tensor& tensor);
// Elements of a shape the importer makes itself; throws Unsupported past `limit`.
int64_t bounded_count(const Shape& shape, int64_t limit = NodeContext::kMostElements);

}  // namespace actmatch::onnx_import
