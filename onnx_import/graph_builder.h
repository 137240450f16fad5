// Lowers a parsed model node by node, collecting what cannot be lowered.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "onnx_import/model_reader.h"

namespace actmatch::onnx_import {

using ShapesByName = std::unordered_map<std::string, Shape>;

class GraphBuilder {
 public:
  // `input_shapes`: by position, complete; without them only what does not depend on the inputs is lowered and checked. `declared`: the
  // shapes of all values at the declared size when this build has another batch. Of `options` everything but shapes is taken.
  GraphBuilder(const ParsedModel& model, const std::optional<std::vector<Shape>>& input_shapes, const BuildOptions& options,
               const ShapesByName* declared);

  void fix_input(const std::string& name, Tensor tensor) { values_[name] = graph_.add_constant(name, std::move(tensor)); }
  void lower();  // fills problems(); the graph is complete only when there are none
  const std::vector<Problem>& problems() const { return problems_; }
  const std::vector<std::string>& notices() const { return notices_; }
  Graph take_graph() { return std::move(graph_); }
  ShapesByName shapes() const;
  ValueId find(const std::string& name) const;  // by ONNX name; kNoValue when nothing has it

  // For NodeContext.
  const Graph& graph() const { return graph_; }
  ValueId value(const std::string& name);
  void bind(const std::string& name, ValueId value);
  void bind_alias(const std::string& name, ValueId value);
  // Sequences are lists of values that import keeps; the graph has none.
  void bind_sequence(const std::string& name, std::vector<ValueId> values) { sequences_[name] = std::move(values); }
  const std::vector<ValueId>* find_sequence(const std::string& name) const;
  ValueId add_node(const std::string& node, Attributes attrs, std::vector<ValueId> inputs, const std::string& output);
  ValueId add_constant(const std::string& name, Tensor tensor);
  const Shape* declared_shape(const std::string& name) const;
  bool is_used(const std::string& name) const { return used_.contains(name); }
  // Lowers a graph inside of a node: `inputs` are the values of its inputs, the result those of its outputs. Its values get names that
  // begin with `prefix`. Throws Unsupported with the first problem in it.
  std::vector<ValueId> lower_body(const onnx::GraphProto& body, const std::string& prefix, const std::vector<ValueId>& inputs,
                                  int64_t opset);
  // The constant of that name as floats where the file has integers of at most 8 bits; kNoValue otherwise.
  ValueId small_integers_as_floats(const std::string& name);
  const StoredTensor* stored(const std::string& name) const;   // the file's constant of that name, or null
  bool is_picture_of_integers(const std::string& name) const;  // in the file; the graph has floats
  bool structure_only() const { return options_.structure_only; }
  void note(const std::string& text);  // a notice; each text is kept once

 private:
  class Poisoned {};  // thrown inside of bodies: something it reads could not be lowered, which has been said
  std::string lower_node(const onnx::NodeProto& node, const std::string& name, int64_t inherited_opset);
  void add_inputs(const std::vector<Shape>& shapes);
  void add_picture(const ModelInput& input, Shape shape);
  void add_outputs();

  const ParsedModel& model_;
  const BuildOptions& options_;
  const ShapesByName* declared_;
  Graph graph_;
  std::unordered_map<std::string, ValueId> values_;
  std::unordered_map<std::string, std::vector<ValueId>> sequences_;
  std::unordered_set<std::string> poisoned_;  // results of nodes that could not be lowered
  std::unordered_set<std::string> used_;      // read by a node or an output of the model
  std::unordered_set<std::string> named_;     // outputs and taps: these keep a value of their own
  std::vector<std::string> outputs_;
  std::unordered_map<const onnx::TensorProto*, ValueId> inner_constants_;
  std::unordered_map<std::string, ValueId> floats_of_integers_;  // kNoValue: it cannot be read so
  std::vector<Problem> problems_;
  std::vector<std::string> notices_;
  size_t unrolled_bytes_ = 0;  // of nodes in bodies
  int64_t unrolled_nodes_ = 0;
};

}  // namespace actmatch::onnx_import
