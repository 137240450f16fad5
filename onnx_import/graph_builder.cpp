#include "onnx_import/graph_builder.h"

#include <algorithm>

#include "engine/core/error.h"
#include "onnx_import/initializers.h"
#include "onnx_import/node_context.h"
#include "onnx_import/op_registry.h"
#include "onnx_import/scopes.h"

namespace actmatch::onnx_import {
namespace {

// Past this, sums of extents and products of an extent and an attribute could leave 64 bits; no image model comes near.
constexpr int64_t kLargestExtent = int64_t{1} << 38;
// Of graphs inside of nodes, repeated as often as a Loop turns.
constexpr int64_t kMostUnrolledNodes = int64_t{1} << 15;
constexpr size_t kMostUnrolledBytes = size_t{1} << 28;

// The operator set of a node: its own where it came from a function, otherwise that of the node around it or of the model.
int64_t opset_of(const ParsedModel& model, const onnx::NodeProto& node, int64_t inherited) {
  if (const int64_t own = node_opset(node); own != 0) return own;
  const std::string domain = canonical_domain(node.domain());
  if (domain.empty() && inherited != 0) return inherited;
  const auto imported = model.opsets.find(domain);
  return imported == model.opsets.end() ? 0 : imported->second;
}

Tensor filled_tensor(DType dtype, const Shape& shape, double value) {
  bounded_count(shape);
  Tensor tensor(dtype, shape);
  switch (dtype) {
    case DType::kF32: std::fill_n(tensor.data<float>(), tensor.count(), static_cast<float>(value)); break;
    case DType::kI64: std::fill_n(tensor.data<int64_t>(), tensor.count(), static_cast<int64_t>(value)); break;
    case DType::kBool: std::fill_n(tensor.data<uint8_t>(), tensor.count(), static_cast<uint8_t>(value != 0)); break;
  }
  return tensor;
}

void check_extents(const Shape& shape) {
  if (shape.size() > kMaxRank) throw Unsupported("a tensor of more than " + std::to_string(kMaxRank) + " dimensions");
  for (int64_t extent : shape)
    if (extent > kLargestExtent) throw Unsupported("a tensor of shape " + to_string(shape) + " is too large");
}

}  // namespace

GraphBuilder::GraphBuilder(const ParsedModel& model, const std::optional<std::vector<Shape>>& input_shapes, const BuildOptions& options,
                           const ShapesByName* declared)
    : model_(model),
      options_(options),
      declared_(declared),
      named_(options.keep_values.begin(), options.keep_values.end()),
      outputs_(options.outputs) {
  if (outputs_.empty())
    for (const auto& output : model.graph().output()) outputs_.push_back(output.name());
  for (const auto& node : model.graph().node()) {
    used_.insert(node.input().begin(), node.input().end());
    for (std::string& name : captured_values(node)) used_.insert(std::move(name));
  }
  used_.insert(outputs_.begin(), outputs_.end());
  named_.insert(outputs_.begin(), outputs_.end());
  used_.insert(options.keep_values.begin(), options.keep_values.end());
  used_.erase("");
  poisoned_ = model.unreadable;
  if (input_shapes)
    add_inputs(*input_shapes);
  else
    for (const ModelInput& input : model.inputs) poisoned_.insert(input.name);
}

// What the file sees under the input's name is its own layout; the graph takes N x channels x H x W.
void GraphBuilder::add_picture(const ModelInput& input, Shape shape) {
  if (!options_.picture_channels_last) {
    values_[input.name] = graph_.add_input(input.name, DType::kF32, std::move(shape));
    return;
  }
  if (shape.size() != 4) throw Unsupported("a picture with its channels last has four axes, not " + std::to_string(shape.size()));
  const ValueId picture = graph_.add_input(input.name, DType::kF32, {shape.at(0), shape.at(3), shape.at(1), shape.at(2)});
  const std::string name = input.name + "#channels_last";
  values_[input.name] = graph_.add_node(name, TransposeAttrs{{0, 2, 3, 1}}, {picture}, name);
}

void GraphBuilder::add_inputs(const std::vector<Shape>& shapes) {
  for (size_t i = 0; i < model_.inputs.size(); ++i) {
    const ModelInput& input = model_.inputs[i];
    if (poisoned_.contains(input.name)) continue;
    try {
      const auto fixed = options_.fixed_inputs.find(input.name);
      if (fixed != options_.fixed_inputs.end())
        values_[input.name] = add_constant(input.name, filled_tensor(input.dtype, shapes[i], fixed->second));
      else if (input.name == options_.picture)
        add_picture(input, shapes[i]);
      else
        values_[input.name] = graph_.add_input(input.name, input.dtype, shapes[i]);
    } catch (const std::runtime_error& error) {  // larger than can be addressed, or filled in
      if (const auto* known = dynamic_cast<const Error*>(&error); known && known->code() == ErrorCode::kInternal) throw;
      problems_.push_back({"", "", "input '" + input.name + "': " + error.what(), model_.opset});
      poisoned_.insert(input.name);
    }
  }
}

void GraphBuilder::lower() {
  problems_.insert(problems_.begin(), model_.problems.begin(), model_.problems.end());
  if (model_.opset < kOldestOpset || model_.opset > kNewestOpset)
    problems_.push_back({"", "",
                         "the model uses opset " + std::to_string(model_.opset) + "; opsets " + std::to_string(kOldestOpset) + " to " +
                             std::to_string(kNewestOpset) + " are supported: export it again with one of these",
                         model_.opset});
  for (int index : model_.order) {
    const onnx::NodeProto& node = model_.graph().node(index);
    const std::string name = node_name(model_.graph(), index);
    const std::string message = lower_node(node, name, 0);
    if (!message.empty()) problems_.push_back({name, node.op_type(), message, opset_of(model_, node, 0)});
  }
  for (const auto& output : model_.graph().output())
    if (sequences_.contains(output.name()))
      problems_.push_back({"", "", "its output '" + output.name() + "' is a sequence; give out tensors instead", model_.opset});
  if (problems_.empty()) add_outputs();
}

// Returns what is wrong with the node, or nothing. Afterwards its outputs are bound or poisoned.
std::string GraphBuilder::lower_node(const onnx::NodeProto& node, const std::string& name, int64_t inherited_opset) {
  const std::string domain = canonical_domain(node.domain());
  const int64_t opset = opset_of(model_, node, inherited_opset);
  std::string message;
  const OpEntry* entry = nullptr;
  if (domain.empty() && (opset < kOldestOpset || opset > kNewestOpset) && opset == model_.opset) {
    // Said once for the whole model; per node only what no opset would cure.
    entry = find_entry(domain, node.op_type(), std::clamp(opset, kOldestOpset, kNewestOpset), message);
    if (entry || !message.starts_with("unknown")) message.clear();
    entry = nullptr;
  } else {
    entry = find_entry(domain, node.op_type(), opset, message);
  }
  const auto is_poisoned = [&](const std::string& input) { return poisoned_.contains(input); };
  bool reachable = std::none_of(node.input().begin(), node.input().end(), is_poisoned);
  if (entry && reachable && node.output_size() > 0) {
    NodeContext context(*this, node, name, opset);
    try {
      entry->lower(context);
      for (const std::string& unread : context.attributes.unread()) message = "the attribute '" + unread + "' is not supported";
      for (const std::string& output : node.output())
        if (message.empty() && is_used(output) && !values_.contains(output) && !sequences_.contains(output))
          message = "the output '" + output + "' is not supported";
    } catch (const Poisoned&) {
      reachable = false;
    } catch (const Unsupported& problem) {
      message = problem.what();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInternal || error.code() == ErrorCode::kIo) throw;
      message = error.what();
    }
  }
  if (message.empty() && entry && node.output_size() == 0) message = "it has no outputs; the file is damaged";
  if (!message.empty() || !entry || !reachable) poisoned_.insert(node.output().begin(), node.output().end());
  poisoned_.erase("");
  return message;
}

std::vector<ValueId> GraphBuilder::lower_body(const onnx::GraphProto& body, const std::string& prefix, const std::vector<ValueId>& inputs,
                                              int64_t opset) {
  if (static_cast<size_t>(body.input_size()) != inputs.size())
    throw Unsupported("its body takes " + std::to_string(body.input_size()) + " inputs and is given " + std::to_string(inputs.size()) +
                      "; the file is damaged");
  Renaming names;
  const auto own = [&](const std::string& name) { return names[name] = prefix + name; };
  for (size_t i = 0; i < inputs.size(); ++i) values_[own(body.input(static_cast<int>(i)).name())] = inputs[i];
  for (const auto& tensor : body.initializer()) {
    const auto [constant, is_new] = inner_constants_.try_emplace(&tensor, kNoValue);  // one for all turns of a loop
    if (is_new)
      constant->second =
          graph_.add_constant(prefix + tensor.name(), read_tensor(tensor, "the initializer '" + tensor.name() + "' inside of it"));
    values_[own(tensor.name())] = constant->second;
  }
  for (const auto& tensor : body.sparse_initializer()) {
    const std::string& name = tensor.values().name();
    values_[own(name)] = add_constant(prefix + name, read_sparse_tensor(tensor, "the initializer '" + name + "' inside of it"));
  }
  for (const auto& node : body.node())
    for (const auto& output : node.output())
      if (!output.empty()) own(output);
  std::vector<onnx::NodeProto> nodes(body.node().begin(), body.node().end());
  for (onnx::NodeProto& node : nodes) {
    unrolled_bytes_ += node.ByteSizeLong();
    if (++unrolled_nodes_ > kMostUnrolledNodes || unrolled_bytes_ > kMostUnrolledBytes)
      throw Unsupported("what is inside of it comes to too many nodes; simplify the model when exporting");
    rename_values(node, names);
    used_.insert(node.input().begin(), node.input().end());
    for (std::string& name : captured_values(node)) used_.insert(std::move(name));
  }
  const auto outer = [&](const std::string& name) {
    const auto found = names.find(name);
    return found == names.end() ? name : found->second;
  };
  for (const auto& output : body.output()) used_.insert(outer(output.name()));
  used_.erase("");
  for (size_t i = 0; i < nodes.size(); ++i) {
    const std::string inner = node_name(body, static_cast<int>(i));
    for (const auto& input : nodes[i].input())
      if (poisoned_.contains(input)) throw Poisoned();
    const std::string message = lower_node(nodes[i], prefix + inner, opset);
    if (!message.empty()) throw Unsupported("inside of it, node '" + inner + "' (" + nodes[i].op_type() + "): " + message);
    for (const auto& output : nodes[i].output())
      if (poisoned_.contains(output)) throw Poisoned();
  }
  std::vector<ValueId> results;
  for (const auto& output : body.output()) results.push_back(value(outer(output.name())));
  return results;
}

void GraphBuilder::add_outputs() {
  for (const std::string& output : outputs_)
    if (!poisoned_.contains(output)) graph_.mark_output(value(output));
}

ValueId GraphBuilder::value(const std::string& name) {
  const auto found = values_.find(name);
  if (found != values_.end()) return found->second;
  if (poisoned_.contains(name)) throw Poisoned();
  if (!model_.weights.contains(name)) throw Unsupported("it reads '" + name + "' before that is defined; the file is damaged");
  if (options_.structure_only)
    if (auto outline = model_.weights.outline(name)) return values_[name] = graph_.add_outline(name, std::move(outline), true);
  return values_[name] = graph_.add_constant(name, model_.weights.load(name));
}

ValueId GraphBuilder::small_integers_as_floats(const std::string& name) {
  if (values_.contains(name) || !model_.weights.contains(name)) return kNoValue;
  const auto [floats, is_new] = floats_of_integers_.try_emplace(name, kNoValue);
  if (!is_new) return floats->second;
  if (auto outline = options_.structure_only ? model_.weights.outline(name, true) : nullptr)
    floats->second = graph_.add_outline(name + "#float", std::move(outline), true);
  else if (auto tensor = model_.weights.load_small_integers_as_floats(name))
    floats->second = graph_.add_constant(name + "#float", std::move(tensor));
  return floats->second;
}

const StoredTensor* GraphBuilder::stored(const std::string& name) const {
  const auto found = model_.weights.entries().find(name);
  return found == model_.weights.entries().end() ? nullptr : &found->second.stored;
}

bool GraphBuilder::is_picture_of_integers(const std::string& name) const {
  if (name != options_.picture || name.empty()) return false;
  return std::any_of(model_.inputs.begin(), model_.inputs.end(),
                     [&](const ModelInput& input) { return input.name == name && input.dtype == DType::kI64; });
}

void GraphBuilder::note(const std::string& text) {
  if (std::find(notices_.begin(), notices_.end(), text) == notices_.end()) notices_.push_back(text);
}

const std::vector<ValueId>* GraphBuilder::find_sequence(const std::string& name) const {
  const auto found = sequences_.find(name);
  return found == sequences_.end() ? nullptr : &found->second;
}

ValueId GraphBuilder::find(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? kNoValue : found->second;
}

void GraphBuilder::bind(const std::string& name, ValueId value) {
  if (!name.empty()) values_[name] = value;
}

void GraphBuilder::bind_alias(const std::string& name, ValueId value) {
  if (name.empty()) return;
  // A name that the caller will look for needs a value that bears it.
  const bool rename = named_.contains(name) && graph_.value(value).name != name && !graph_.is_constant(value);
  values_[name] = rename ? graph_.add_node(name, UnaryAttrs{UnaryKind::kIdentity}, {value}, name) : value;
}

ValueId GraphBuilder::add_node(const std::string& node, Attributes attrs, std::vector<ValueId> inputs, const std::string& output) {
  ValueId id = kNoValue;
  try {
    id = graph_.add_node(node, std::move(attrs), std::move(inputs), output);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInternal) throw;
    // The node is named by the Problem already.
    const std::string text = error.what(), prefix = "node '" + node + "' (";
    const size_t end = text.find("): ");
    throw Unsupported(text.starts_with(prefix) && end != std::string::npos ? text.substr(end + 3) : text);
  }
  check_extents(graph_.value(id).shape);
  return id;
}

ValueId GraphBuilder::add_constant(const std::string& name, Tensor tensor) {
  const int64_t copied = tensor.count();
  if (!graph_.afford({copied, static_cast<int64_t>(tensor.bytes())}))
    throw Unsupported("the constants computed from the file become too large with its " + to_string(tensor.shape()) +
                      "; export the model with constant folding, or with these tables as initializers");
  return graph_.add_computed_constant(name, std::make_shared<const Tensor>(std::move(tensor)));
}

const Shape* GraphBuilder::declared_shape(const std::string& name) const {
  if (!declared_) return nullptr;
  const auto found = declared_->find(name);
  return found == declared_->end() ? nullptr : &found->second;
}

ShapesByName GraphBuilder::shapes() const {
  ShapesByName all;
  for (const auto& [name, id] : values_) all[name] = graph_.value(id).shape;
  return all;
}

}  // namespace actmatch::onnx_import
