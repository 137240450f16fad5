#include "onnx_import/functions.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "engine/core/error.h"
#include "onnx_import/scopes.h"
#include "onnx_import/skeleton.h"

namespace actmatch::onnx_import {
namespace {

// Functions that call functions multiply: these keep a file of some kilobytes from becoming gigabytes.
constexpr int64_t kMostNodes = int64_t{1} << 18;
constexpr size_t kMostCopiedBytes = size_t{1} << 28;
constexpr size_t kDeepest = 64;

using Key = std::tuple<std::string, std::string, std::string>;  // domain, name, overload (which the skeleton has in doc_string)

class Inliner {
 public:
  explicit Inliner(ParsedModel& model) : model_(model) {
    for (const auto& function : model.proto.functions()) {
      const Key key{canonical_domain(function.domain()), function.name(), function.doc_string()};
      if (!functions_.emplace(key, &function).second)
        throw Error(ErrorCode::kFormat,
                    "'" + model.path + "' defines the function '" + function.name() + "' twice; export the model again");
    }
  }

  void run() { expand(*model_.proto.mutable_graph()); }

 private:
  [[noreturn]] void too_large() const {
    throw Error(ErrorCode::kUnsupported,
                "'" + model_.path + "' becomes too large with its functions put in place of their calls; export it without functions");
  }

  const onnx::FunctionProto* find(const onnx::NodeProto& node) const {
    const auto found = functions_.find({canonical_domain(node.domain()), node.op_type(), node.doc_string()});
    return found == functions_.end() ? nullptr : found->second;
  }

  void expand_subgraphs(onnx::NodeProto& node) {
    for (auto& attribute : *node.mutable_attribute()) {
      if (attribute.has_g()) expand(*attribute.mutable_g());
      for (auto& graph : *attribute.mutable_graphs()) expand(graph);
    }
  }

  void expand(onnx::GraphProto& graph) {
    google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
    nodes.Swap(graph.mutable_node());
    for (auto& node : nodes) place(std::move(node), *graph.mutable_node());
  }

  // Adds the node, or the body of the function that it calls.
  void place(onnx::NodeProto node, google::protobuf::RepeatedPtrField<onnx::NodeProto>& out) {
    const onnx::FunctionProto* function = find(node);
    if (!function) {
      if (++nodes_ > kMostNodes) too_large();
      if (!calls_.empty())
        set_opset(node, *calls_.back());
      else
        node.clear_doc_string();
      expand_subgraphs(node);
      *out.Add() = std::move(node);
      return;
    }
    if (std::find(calls_.begin(), calls_.end(), function) != calls_.end())
      throw Error(ErrorCode::kFormat,
                  "'" + model_.path + "' has the function '" + function->name() + "', which calls itself; export the model again");
    if (calls_.size() >= kDeepest) too_large();
    calls_.push_back(function);
    place_body(node, *function, out);
    calls_.pop_back();
  }

  void place_body(const onnx::NodeProto& call, const onnx::FunctionProto& function,
                  google::protobuf::RepeatedPtrField<onnx::NodeProto>& out) {
    const std::string prefix = (call.name().empty() ? function.name() : call.name()) + "#" + std::to_string(++bodies_) + "/";
    if (call.input_size() > function.input_size() || call.output_size() > function.output_size())
      throw Error(ErrorCode::kFormat, "'" + model_.path + "' calls the function '" + function.name() +
                                          "' with too many inputs or outputs; export the model again");
    Renaming names;
    std::vector<std::pair<std::string, std::string>> passed_through;  // outputs of the call that are inputs of the function
    for (int i = 0; i < function.input_size(); ++i) names[function.input(i)] = i < call.input_size() ? call.input(i) : "";
    for (const auto& node : function.node())
      for (const auto& output : node.output())
        if (!output.empty()) names[output] = prefix + output;
    for (int i = 0; i < call.output_size(); ++i) {
      const std::string& inner = function.output(i);
      const bool is_input = std::find(function.input().begin(), function.input().end(), inner) != function.input().end();
      const bool taken = names.contains(inner) && !names[inner].starts_with(prefix);  // the same value as two outputs
      if (is_input || taken || !names.contains(inner))
        passed_through.emplace_back(names.contains(inner) ? names[inner] : prefix + inner, call.output(i));
      else if (!call.output(i).empty())
        names[inner] = call.output(i);
    }
    std::unordered_map<std::string, onnx::AttributeProto> attributes;
    for (const auto& node : function.node())
      if (node.op_type() == kDefaultsOp)
        for (const auto& attribute : node.attribute()) attributes[attribute.name()] = attribute;
    for (const auto& attribute : call.attribute()) attributes[attribute.name()] = attribute;
    for (const auto& inner : function.node()) {
      if (inner.op_type() == kDefaultsOp) continue;
      if ((copied_ += inner.ByteSizeLong()) > kMostCopiedBytes) too_large();
      onnx::NodeProto node = inner;
      node.set_name(prefix + (inner.name().empty() ? inner.op_type() : inner.name()));
      rename_values(node, names);
      bind_attributes(node, attributes);
      place(std::move(node), out);
    }
    for (const auto& [from, to] : passed_through) {
      if (to.empty()) continue;
      auto& node = *out.Add();
      node.set_op_type("Identity");
      node.set_name(prefix + "output");
      node.add_input(from);
      node.add_output(to);
    }
  }

  // Attributes that refer to one of the call take its value; where the call does not give it, the operator's default holds.
  void bind_attributes(onnx::NodeProto& node, const std::unordered_map<std::string, onnx::AttributeProto>& given) {
    google::protobuf::RepeatedPtrField<onnx::AttributeProto> bound;
    for (auto& attribute : *node.mutable_attribute()) {
      if (!attribute.ref_attr_name().empty()) {
        const auto found = given.find(attribute.ref_attr_name());
        if (found == given.end()) continue;
        if ((copied_ += found->second.ByteSizeLong()) > kMostCopiedBytes) too_large();
        const std::string name = attribute.name();
        attribute = found->second;
        attribute.set_name(name);
      }
      if (attribute.has_g())
        for (auto& inner : *attribute.mutable_g()->mutable_node()) bind_attributes(inner, given);
      *bound.Add() = std::move(attribute);
    }
    node.mutable_attribute()->Swap(&bound);
  }

  // Nodes of subgraphs come through place() as well.
  void set_opset(onnx::NodeProto& node, const onnx::FunctionProto& function) const {
    node.clear_doc_string();
    const std::string domain = canonical_domain(node.domain());
    for (const auto& import : function.opset_import()) {
      if (canonical_domain(import.domain()) != domain) continue;
      const auto own = model_.opsets.find(domain);
      if (own == model_.opsets.end() || own->second != import.version()) set_node_opset(node, import.version());
    }
  }

  ParsedModel& model_;
  std::map<Key, const onnx::FunctionProto*> functions_;
  std::vector<const onnx::FunctionProto*> calls_;  // under way
  int64_t nodes_ = 0, bodies_ = 0;
  size_t copied_ = 0;
};

}  // namespace

void inline_functions(ParsedModel& model) {
  Inliner(model).run();
  model.proto.clear_functions();
}

}  // namespace actmatch::onnx_import
