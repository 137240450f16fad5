// The intermediate representation of both nets: the frozen classifier and the trainable generator.
// A graph has static shapes (the batch is chosen when it is built) and its nodes stand in topological order.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/graph/host_budget.h"
#include "engine/graph/op.h"

namespace actmatch {

using ValueId = int32_t;
using NodeId = int32_t;
inline constexpr ValueId kNoValue = -1;

enum class ValueKind : uint8_t {
  kInput,       // supplied by the caller before each forward pass
  kConstant,    // frozen: weights of the classifier, tables
  kParameter,   // trainable; `constant` holds the initial value
  kActivation,  // the output of a node
};

struct Value {
  std::string name;
  ValueKind kind = ValueKind::kActivation;
  DType dtype = DType::kF32;
  Shape shape;
  std::shared_ptr<const Tensor> constant;  // for kConstant and kParameter
  NodeId producer = -1;                    // for kActivation
  bool unfolded = false;                   // for kActivation: it depends on constants alone, which is left to the backend
  bool hollow = false;                     // for kConstant of a graph that is only looked at: the elements mean nothing
};

struct Node {
  std::string name;
  Attributes attrs;
  std::vector<ValueId> inputs;  // kNoValue where an optional input is left out
  ValueId output = kNoValue;
  OpKind op() const { return kind_of(attrs); }
};

class Graph {
 public:
  ValueId add_input(std::string name, DType dtype, Shape shape);
  ValueId add_constant(std::string name, Tensor tensor);
  ValueId add_constant(std::string name, std::shared_ptr<const Tensor> tensor);
  // What a pass or an importer makes from the graph's constants is paid for: ask whether it can be afforded, make it, add it.
  bool afford(const HostCost& cost) { return budget_.take(cost); }
  ValueId add_computed_constant(std::string name, std::shared_ptr<const Tensor> tensor);
  // Hollow, see Value; what is folded of it will be hollow, too, and takes neither time nor memory. `given`: by the file.
  ValueId add_outline(std::string name, std::shared_ptr<const Tensor> tensor, bool given);
  ValueId add_parameter(std::string name, Tensor initial);
  // Infers the output's type and shape (throws kInvalidArgument when the inputs do not fit). When every input is a constant and the
  // operator can be evaluated on the host at a cost that the budget allows, the result is a constant and no node is added: constant
  // folding happens as a graph is built.
  ValueId add_node(std::string name, Attributes attrs, std::vector<ValueId> inputs, std::string output_name = {});
  void mark_output(ValueId value) { outputs_.push_back(value); }

  const std::vector<Value>& values() const { return values_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const Value& value(ValueId id) const { return values_.at(static_cast<size_t>(id)); }
  Value& mutable_value(ValueId id) { return values_.at(static_cast<size_t>(id)); }
  const Node& node(NodeId id) const { return nodes_.at(static_cast<size_t>(id)); }
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }
  std::vector<ValueId> parameters() const;
  bool is_constant(ValueId id) const { return value(id).kind == ValueKind::kConstant; }
  ValueId find(std::string_view name) const;           // kNoValue when there is none
  std::vector<std::vector<NodeId>> consumers() const;  // by value

  // Rewriting, for passes. `replace_nodes` takes the complete new list, in topological order, and refreshes the producers.
  void replace_nodes(std::vector<Node> nodes);
  void set_outputs(std::vector<ValueId> outputs) { outputs_ = std::move(outputs); }
  ValueId add_value(Value value);

  std::string dump() const;  // one line a node, for people

 private:
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<ValueId> inputs_, outputs_;
  HostBudget budget_;
};

}  // namespace actmatch
