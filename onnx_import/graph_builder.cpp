#include "onnx_import/graph_builder.h"

#include <algorithm>

#include "engine/core/error.h"
#include "onnx_import/initializers.h"
#include "onnx_import/node_context.h"
#include "onnx_import/op_registry.h"

namespace actmatch::onnx_import {
namespace {

// Past this, sums of extents and products of an extent and an attribute could leave 64 bits; no image model comes near.
constexpr int64_t kLargestExtent = int64_t{1} << 38;
// Elements of the tables import makes itself (ConstantOfShape, Range, ...), beside the weights of the file.
constexpr int64_t kConstantBudget = int64_t{1} << 26;

void check_extents(const Shape& shape) {
  if (shape.size() > kMaxRank) throw Unsupported("a tensor of more than " + std::to_string(kMaxRank) + " dimensions");
  for (int64_t extent : shape)
    if (extent > kLargestExtent) throw Unsupported("a tensor of shape " + to_string(shape) + " is too large");
}

}  // namespace

GraphBuilder::GraphBuilder(const ParsedModel& model, const std::optional<std::vector<Shape>>& input_shapes,
                           const std::vector<std::string>& keep, const ShapesByName* declared)
    : model_(model), declared_(declared), named_(keep.begin(), keep.end()), budget_(kConstantBudget) {
  for (const auto& node : model.graph().node()) used_.insert(node.input().begin(), node.input().end());
  for (const auto& output : model.graph().output()) {
    used_.insert(output.name());
    named_.insert(output.name());
  }
  used_.insert(keep.begin(), keep.end());
  used_.erase("");
  poisoned_ = model.unreadable;
  if (input_shapes)
    add_inputs(*input_shapes);
  else
    for (const ModelInput& input : model.inputs) poisoned_.insert(input.name);
}

void GraphBuilder::add_inputs(const std::vector<Shape>& shapes) {
  for (size_t i = 0; i < model_.inputs.size(); ++i) {
    const ModelInput& input = model_.inputs[i];
    if (poisoned_.contains(input.name)) continue;
    try {
      values_[input.name] = graph_.add_input(input.name, input.dtype, shapes[i]);
    } catch (const Error& error) {  // larger than can be addressed
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
  for (int index : model_.order) lower_node(index);
  for (const auto& output : model_.graph().output())
    if (sequences_.contains(output.name()))
      problems_.push_back({"", "", "its output '" + output.name() + "' is a sequence; give out tensors instead", model_.opset});
  if (problems_.empty()) add_outputs();
}

void GraphBuilder::lower_node(int index) {
  const onnx::NodeProto& node = model_.graph().node(index);
  const std::string domain = canonical_domain(node.domain());
  const auto imported = model_.opsets.find(domain);
  const int64_t opset = imported == model_.opsets.end() ? 0 : imported->second;
  std::string message;
  const OpEntry* entry = nullptr;
  if (domain.empty() && (opset < kOldestOpset || opset > kNewestOpset)) {
    // Said once for the whole model; per node only what no opset would cure.
    entry = find_entry(domain, node.op_type(), std::clamp(opset, kOldestOpset, kNewestOpset), message);
    if (entry || !message.starts_with("unknown")) message.clear();
    entry = nullptr;
  } else {
    entry = find_entry(domain, node.op_type(), opset, message);
  }
  const auto is_poisoned = [&](const std::string& name) { return poisoned_.contains(name); };
  const bool reachable = std::none_of(node.input().begin(), node.input().end(), is_poisoned);
  if (entry && reachable && node.output_size() > 0) {
    NodeContext context(*this, node, node_name(model_.graph(), index), opset);
    try {
      entry->lower(context);
      for (const std::string& unread : context.attributes.unread()) message = "the attribute '" + unread + "' is not supported";
      for (const std::string& output : node.output())
        if (message.empty() && is_used(output) && !values_.contains(output) && !sequences_.contains(output))
          message = "the output '" + output + "' is not supported";
    } catch (const Unsupported& problem) {
      message = problem.what();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInternal) throw;
      message = error.what();
    }
  }
  if (message.empty() && entry && node.output_size() == 0) message = "it has no outputs; the file is damaged";
  if (!message.empty()) problems_.push_back({node_name(model_.graph(), index), node.op_type(), message, opset});
  if (!message.empty() || !entry || !reachable) poisoned_.insert(node.output().begin(), node.output().end());
  poisoned_.erase("");
}

void GraphBuilder::add_outputs() {
  for (const auto& output : model_.graph().output())
    if (!poisoned_.contains(output.name())) graph_.mark_output(value(output.name()));
}

ValueId GraphBuilder::value(const std::string& name) {
  const auto found = values_.find(name);
  if (found != values_.end()) return found->second;
  const auto weight = model_.weights.find(name);
  ACTMATCH_CHECK(weight != model_.weights.end(), "value '" + name + "' is read before it is defined");
  return values_[name] = graph_.add_constant(name, weight->second);
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
  charge(tensor.count());
  return graph_.add_constant(name, std::move(tensor));
}

void GraphBuilder::charge(int64_t elements) {
  if (elements > budget_) throw Unsupported("the constants computed from the file become too large; simplify the model when exporting");
  budget_ -= elements;
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
