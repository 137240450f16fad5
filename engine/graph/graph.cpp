#include "engine/graph/graph.h"

#include <limits>
#include <sstream>

#include "engine/core/error.h"
#include "engine/graph/op_table.h"

namespace actmatch {
namespace {

// Also where one extent is zero, the others have to multiply to something addressable: strides are computed from them.
void check_addressable(const Shape& shape) {
  Shape extents = shape;
  for (int64_t& extent : extents) extent = extent == 0 ? 1 : extent;
  element_count(extents);
}

const char* display_name(const Attributes& attrs) {
  if (const auto* unary = std::get_if<UnaryAttrs>(&attrs)) return name_of(unary->kind);
  if (const auto* binary = std::get_if<BinaryAttrs>(&attrs)) return name_of(binary->kind);
  return name_of(kind_of(attrs));
}

void check_input_count(const OpInfo& info, const std::vector<ValueId>& inputs) {
  const auto count = static_cast<int>(inputs.size());
  if (count < info.min_inputs || (info.max_inputs >= 0 && count > info.max_inputs)) {
    std::string expected = std::to_string(info.min_inputs);
    if (info.max_inputs < 0)
      expected += " or more";
    else if (info.max_inputs != info.min_inputs)
      expected += " to " + std::to_string(info.max_inputs);
    throw Error(ErrorCode::kInvalidArgument, "takes " + expected + " inputs, got " + std::to_string(count));
  }
  for (int i = 0; i < info.min_inputs; ++i)
    if (inputs[static_cast<size_t>(i)] == kNoValue) throw Error(ErrorCode::kInvalidArgument, "input " + std::to_string(i) + " is left out");
}

// Attributes for dump(): those that differ from the usual, in few characters.
struct AttributeText {
  std::ostringstream& out;
  template <class List>
  void list(const char* key, const List& values) {
    out << ' ' << key << '=';
    for (size_t i = 0; i < std::size(values); ++i) out << (i ? "," : "") << values[i];
  }
  template <class List>
  void unless_all(int64_t usual, const char* key, const List& values) {
    for (int64_t v : values)
      if (v != usual) return list(key, values);
  }
  template <class T>
  void item(const char* key, const T& value) {
    out << ' ' << key << '=' << value;
  }

  void operator()(const ConvAttrs& a) {
    unless_all(1, "strides", a.strides);
    unless_all(0, "pads", a.pads);
    unless_all(1, "dilations", a.dilations);
    if (a.groups != 1) item("groups", a.groups);
  }
  void operator()(const ConvTransposeAttrs& a) {
    (*this)(ConvAttrs{a.strides, a.pads, a.dilations, a.groups});
    unless_all(0, "output_padding", a.output_padding);
  }
  void operator()(const MatMulAttrs& a) {
    if (a.transpose_a) out << " transpose_a";
    if (a.transpose_b) out << " transpose_b";
  }
  void operator()(const PoolAttrs& a) {
    constexpr const char* kModes[] = {"max", "average_include_pad", "average_exclude_pad"};
    item("mode", kModes[static_cast<int>(a.mode)]);
    list("kernel", a.kernel);
    (*this)(ConvAttrs{a.strides, a.pads, a.dilations, 1});
    if (a.ceil_mode) out << " ceil_mode";
  }
  void operator()(const ReduceAttrs& a) {
    constexpr const char* kKinds[] = {"sum", "mean", "max", "min"};
    item("kind", kKinds[static_cast<int>(a.kind)]);
    list("axes", a.axes);
    if (!a.keep_dims) out << " drop_dims";
  }
  void operator()(const UnaryAttrs& a) {
    if (a.alpha != 0.0f) item("alpha", a.alpha);
    if (a.beta != 0.0f) item("beta", a.beta);
  }
  void operator()(const BinaryAttrs&) {}
  void operator()(const SoftmaxAttrs& a) {
    item("axis", a.axis);
    if (a.log) out << " log";
  }
  void operator()(const ConcatAttrs& a) { item("axis", a.axis); }
  void operator()(const ReshapeAttrs&) {}
  void operator()(const TransposeAttrs& a) { list("perm", a.perm); }
  void operator()(const SliceAttrs& a) {
    list("starts", a.starts);
    unless_all(1, "steps", a.steps);
  }
  void operator()(const PadAttrs& a) {
    constexpr const char* kModes[] = {"constant", "reflect", "edge"};
    item("mode", kModes[static_cast<int>(a.mode)]);
    list("before", a.before);
    list("after", a.after);
    if (a.value != 0.0f) item("value", a.value);
  }
  void operator()(const GatherAttrs& a) { item("axis", a.axis); }
  void operator()(const WhereAttrs&) {}
  void operator()(const ExpandAttrs&) {}
  void operator()(const ScaleShiftAttrs&) {}
  void operator()(const BatchNormAttrs& a) { item("epsilon", a.epsilon); }
  void operator()(const CastAttrs& a) { item("to", name_of(a.to)); }
  void operator()(const TopKAttrs& a) {
    item("axis", a.axis);
    item("k", a.k);
    if (!a.largest) out << " smallest";
    if (a.last_first) out << " last_first";
  }
  void operator()(const ResizeAttrs& a) { item("mode", a.mode == ResizeMode::kNearest ? "nearest" : "linear"); }
};

}  // namespace

ValueId Graph::add_value(Value value) {
  check_addressable(value.shape);
  if (values_.size() >= static_cast<size_t>(std::numeric_limits<ValueId>::max()))
    throw Error(ErrorCode::kUnsupported, "the graph has more values than can be numbered");
  values_.push_back(std::move(value));
  return static_cast<ValueId>(values_.size() - 1);
}

ValueId Graph::add_input(std::string name, DType dtype, Shape shape) {
  const ValueId id = add_value({std::move(name), ValueKind::kInput, dtype, std::move(shape), nullptr, -1});
  inputs_.push_back(id);
  return id;
}

ValueId Graph::add_constant(std::string name, Tensor tensor) {
  return add_constant(std::move(name), std::make_shared<const Tensor>(std::move(tensor)));
}

ValueId Graph::add_constant(std::string name, std::shared_ptr<const Tensor> tensor) {
  ACTMATCH_CHECK(tensor && tensor->raw(), "constant '" + name + "' has no data");
  budget_.give(*tensor);
  return add_computed_constant(std::move(name), std::move(tensor));
}

ValueId Graph::add_computed_constant(std::string name, std::shared_ptr<const Tensor> tensor) {
  ACTMATCH_CHECK(tensor && tensor->raw(), "constant '" + name + "' has no data");
  const DType dtype = tensor->dtype();
  Shape shape = tensor->shape();
  return add_value({std::move(name), ValueKind::kConstant, dtype, std::move(shape), std::move(tensor), -1});
}

ValueId Graph::add_outline(std::string name, std::shared_ptr<const Tensor> tensor, bool given) {
  if (given) budget_.give(*tensor);
  const ValueId id = add_computed_constant(std::move(name), std::move(tensor));
  values_.back().hollow = true;
  return id;
}

ValueId Graph::add_parameter(std::string name, Tensor initial) {
  if (initial.dtype() != DType::kF32)
    throw Error(ErrorCode::kInvalidArgument, "parameter '" + name + "' must be float32, not " + name_of(initial.dtype()));
  const ValueId id = add_constant(std::move(name), std::move(initial));
  values_.back().kind = ValueKind::kParameter;
  return id;
}

ValueId Graph::add_node(std::string name, Attributes attrs, std::vector<ValueId> inputs, std::string output_name) {
  const OpInfo& info = op_info(kind_of(attrs));
  if (output_name.empty()) output_name = name;
  try {
    check_input_count(info, inputs);
    std::vector<const Value*> operands;
    std::vector<const Tensor*> constants;  // as many as operands while all are constant
    bool depends = false, hollow = false;  // depends: on an input or a parameter
    for (ValueId id : inputs) {
      operands.push_back(id == kNoValue ? nullptr : &value(id));
      const Value* operand = operands.back();
      hollow = hollow || (operand && operand->hollow);
      if (!operand || operand->kind == ValueKind::kConstant)
        constants.push_back(operand ? operand->constant.get() : nullptr);
      else
        depends = depends || !operand->unfolded;
    }
    const InferredValue out = info.infer(attrs, operands);
    check_addressable(out.shape);
    const bool foldable = constants.size() == operands.size() && info.evaluate;
    if (foldable && afford(evaluation_cost(attrs, constants, out.dtype, out.shape))) {
      if (hollow) return add_outline(std::move(output_name), std::make_shared<const Tensor>(out.dtype, out.shape), false);
      auto folded = std::make_shared<const Tensor>(info.evaluate(attrs, constants, out));
      ACTMATCH_CHECK(folded->dtype() == out.dtype && folded->shape() == out.shape, "folding gives another type or shape");
      return add_computed_constant(std::move(output_name), std::move(folded));
    }
    const auto id = static_cast<NodeId>(nodes_.size());
    const ValueId output = add_value({std::move(output_name), ValueKind::kActivation, out.dtype, out.shape, nullptr, id, !depends});
    nodes_.push_back({std::move(name), std::move(attrs), std::move(inputs), output});
    return output;
  } catch (const Error& e) {
    if (e.code() == ErrorCode::kInternal) throw;
    throw Error(e.code(), "node '" + name + "' (" + display_name(attrs) + "): " + e.what());
  }
}

std::vector<ValueId> Graph::parameters() const {
  std::vector<ValueId> ids;
  for (size_t i = 0; i < values_.size(); ++i)
    if (values_[i].kind == ValueKind::kParameter) ids.push_back(static_cast<ValueId>(i));
  return ids;
}

ValueId Graph::find(std::string_view name) const {
  for (size_t i = 0; i < values_.size(); ++i)
    if (values_[i].name == name) return static_cast<ValueId>(i);
  return kNoValue;
}

std::vector<std::vector<NodeId>> Graph::consumers() const {
  std::vector<std::vector<NodeId>> by_value(values_.size());
  for (size_t n = 0; n < nodes_.size(); ++n)
    for (ValueId id : nodes_[n].inputs) {
      if (id == kNoValue) continue;
      auto& list = by_value[static_cast<size_t>(id)];
      const auto node = static_cast<NodeId>(n);
      if (list.empty() || list.back() != node) list.push_back(node);  // a node that reads a value twice is one consumer
    }
  return by_value;
}

void Graph::replace_nodes(std::vector<Node> nodes) {
  std::vector<NodeId> producers(values_.size(), -1);
  for (size_t n = 0; n < nodes.size(); ++n) {
    for (ValueId id : nodes[n].inputs)
      ACTMATCH_CHECK(id == kNoValue || value(id).kind != ValueKind::kActivation || producers[static_cast<size_t>(id)] >= 0,
                     "node '" + nodes[n].name + "' reads '" + value(id).name + "' before it is made");
    NodeId& producer = producers.at(static_cast<size_t>(nodes[n].output));
    ACTMATCH_CHECK(producer < 0 && value(nodes[n].output).kind == ValueKind::kActivation,
                   "node '" + nodes[n].name + "' writes '" + value(nodes[n].output).name + "', which it may not");
    producer = static_cast<NodeId>(n);
  }
  for (size_t i = 0; i < values_.size(); ++i) values_[i].producer = producers[i];
  nodes_ = std::move(nodes);
}

std::string Graph::dump() const {
  std::ostringstream out;
  const auto describe = [&](ValueId id) {
    const Value& v = value(id);
    out << '%' << id << " \"" << v.name << "\" " << to_string(v.shape);
    if (v.dtype != DType::kF32) out << ' ' << name_of(v.dtype);
  };
  for (ValueId id : inputs_) {
    out << "input ";
    describe(id);
    out << '\n';
  }
  for (const Node& node : nodes_) {
    describe(node.output);
    out << " = " << display_name(node.attrs) << '(';
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId id = node.inputs[i];
      out << (i ? ", " : "");
      if (id == kNoValue)
        out << '-';
      else if (value(id).kind == ValueKind::kActivation || value(id).kind == ValueKind::kInput)
        out << '%' << id;
      else
        out << '%' << id << ':' << (is_constant(id) ? "" : "param ") << to_string(value(id).shape);
    }
    out << ')';
    std::visit(AttributeText{out}, node.attrs);
    out << '\n';
  }
  for (ValueId id : outputs_) {
    out << "output ";
    describe(id);
    out << '\n';
  }
  return out.str();
}

}  // namespace actmatch
