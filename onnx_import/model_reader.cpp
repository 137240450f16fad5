#include "onnx_import/model_reader.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <limits>

#include "engine/core/error.h"
#include "onnx_import/graph_order.h"
#include "onnx_import/initializers.h"

namespace actmatch::onnx_import {
namespace {

constexpr int64_t kOldestIr = 3, kNewestIr = 14;
constexpr int64_t kLargestExtent = int64_t{1} << 31;  // of an input

[[noreturn]] void refuse(const ParsedModel& model, const std::string& what) {
  throw Error(ErrorCode::kFormat, "'" + model.path + "' " + what);
}

// What people hand over by mistake more often than a damaged file.
void refuse_known_strangers(std::string_view head, const ParsedModel& model) {
  if (head.starts_with("version ")) refuse(model, "is a Git LFS pointer, not the model itself; fetch it with `git lfs pull`");
  if (head.starts_with("PK\x03\x04")) refuse(model, "is a zip archive, perhaps a PyTorch checkpoint; convert it with torch.onnx.export");
  if (head.starts_with("\x89HDF")) refuse(model, "is an HDF5 file, perhaps of Keras; convert it with tf2onnx");
  if (head.size() >= 8 && head.substr(4) == "TFL3") refuse(model, "is a TensorFlow Lite file; convert it with tf2onnx");
}

void parse(google::protobuf::io::ZeroCopyInputStream& stream, uint64_t size, std::string_view head, ParsedModel& model) {
  if (size == 0) refuse(model, "is empty; an ONNX file is expected");
  if (size > static_cast<uint64_t>(std::numeric_limits<int>::max()))
    throw Error(ErrorCode::kUnsupported,
                "'" + model.path + "' is larger than 2 GB, the limit of ONNX files in one piece; use a smaller model");
  refuse_known_strangers(head, model);
  google::protobuf::io::CodedInputStream coded(&stream);
  coded.SetTotalBytesLimit(std::numeric_limits<int>::max());
  if (!model.proto.ParseFromCodedStream(&coded) || !coded.ConsumedEntireMessage())
    refuse(model, "is not an ONNX file, or it is truncated or damaged; check that it was copied completely");
}

void check_header(ParsedModel& model) {
  const onnx::ModelProto& proto = model.proto;
  if (!proto.has_ir_version() && !proto.has_graph()) refuse(model, "is not an ONNX file: it has neither an IR version nor a graph");
  if (!proto.has_graph()) refuse(model, "holds no graph; export the model again");
  if (proto.graph().node_size() == 0) refuse(model, "holds a graph without nodes; export the model again");
  if (proto.graph().output_size() == 0) refuse(model, "holds a graph without outputs; export the model again");
  if (proto.ir_version() < kOldestIr || proto.ir_version() > kNewestIr)
    throw Error(ErrorCode::kUnsupported, "'" + model.path + "' has the ONNX IR version " + std::to_string(proto.ir_version()) +
                                             "; versions " + std::to_string(kOldestIr) + " to " + std::to_string(kNewestIr) +
                                             " are read: export it with another version of onnx");
  for (const auto& import : proto.opset_import()) model.opsets[canonical_domain(import.domain())] = import.version();
  const auto found = model.opsets.find("");
  if (found == model.opsets.end()) refuse(model, "does not say which operator set it uses (no opset_import); export the model again");
  model.opset = found->second;
}

// Tensors of Constant nodes are weights like initializers; their nodes need no lowering.
onnx::TensorProto* constant_tensor(onnx::NodeProto& node) {
  if (node.op_type() != "Constant" || !canonical_domain(node.domain()).empty() || node.output_size() != 1 || node.attribute_size() != 1)
    return nullptr;
  onnx::AttributeProto& attribute = *node.mutable_attribute(0);
  return attribute.name() == "value" && attribute.has_t() ? attribute.mutable_t() : nullptr;
}

void refuse_external_data(const ParsedModel& model) {
  int external = 0;
  std::string first;
  for (const auto& tensor : model.graph().initializer()) {
    if (tensor.data_location() != onnx::TensorProto::EXTERNAL && tensor.external_data_size() == 0) continue;
    if (external++ == 0) first = tensor.name();
  }
  if (external > 0)
    throw Error(ErrorCode::kUnsupported, "'" + model.path + "' keeps " + std::to_string(external) + " of its weights in another file ('" +
                                             first + "' is the first), which is not read; save it as one file, with the weights inside");
}

void add_weight(ParsedModel& model, const std::string& name, onnx::TensorProto& tensor, const std::string& kind) {
  const std::string where = kind + " '" + name + "'";
  try {
    Tensor converted = read_tensor(tensor, "'" + model.path + "': " + where);
    if (const int64_t at = find_non_finite(converted, false); at >= 0)
      refuse(model, "has NaN weights: " + where + ", element " + std::to_string(at) +
                        "; the training that made it has diverged, or the file is damaged");
    model.weights.emplace(name, std::make_shared<const Tensor>(std::move(converted)));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    model.problems.push_back({"", "", error.what(), model.opset});
    model.unreadable.insert(name);
  }
  tensor.Clear();
}

void read_weights(ParsedModel& model) {
  refuse_external_data(model);
  onnx::GraphProto& graph = *model.proto.mutable_graph();
  for (auto& tensor : *graph.mutable_initializer()) {
    const std::string name = tensor.name();
    if (name.empty()) refuse(model, "has an initializer without a name; export the model again");
    if (model.weights.contains(name) || model.unreadable.contains(name)) refuse(model, "defines the initializer '" + name + "' twice");
    const bool is_float = widened_type(tensor.data_type()) == DType::kF32;
    add_weight(model, name, tensor, "initializer");
    if (const auto found = model.weights.find(name); is_float && found != model.weights.end())
      model.parameter_count += found->second->count();
    *tensor.mutable_name() = name;
  }
  for (const auto& sparse : graph.sparse_initializer()) {
    const std::string& name = sparse.values().name();
    model.problems.push_back({"", "", "initializer '" + name + "' is sparse, which is not supported; export it dense", model.opset});
    model.unreadable.insert(name);
  }
}

void read_constant_nodes(ParsedModel& model) {
  onnx::GraphProto& graph = *model.proto.mutable_graph();
  std::vector<int> remaining;
  for (int index : model.order) {
    onnx::NodeProto& node = *graph.mutable_node(index);
    onnx::TensorProto* tensor = constant_tensor(node);
    if (tensor)
      add_weight(model, node.output(0), *tensor, "the constant");
    else
      remaining.push_back(index);
  }
  model.order = std::move(remaining);
}

// An infinity is a legitimate bound or mask, but never a weight: there it is a half-precision overflow.
void refuse_infinite_weights(const ParsedModel& model) {
  static const std::unordered_set<std::string> kWeighted{"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"};
  for (const auto& node : model.graph().node()) {
    if (!kWeighted.contains(node.op_type())) continue;
    for (const std::string& input : node.input()) {
      const auto found = model.weights.find(input);
      if (found == model.weights.end()) continue;
      if (const int64_t at = find_non_finite(*found->second, true); at >= 0)
        refuse(model, "has infinite weights: '" + input + "', element " + std::to_string(at) +
                          ", an overflow of half precision perhaps; export it in float32");
    }
  }
}

void read_inputs(ParsedModel& model) {
  std::unordered_set<std::string> seen;
  for (const auto& info : model.graph().input()) {
    const std::string& name = info.name();
    if (name.empty()) refuse(model, "has an input without a name; export the model again");
    if (!seen.insert(name).second) refuse(model, "lists the input '" + name + "' twice");
    if (model.weights.contains(name) || model.unreadable.contains(name)) continue;
    ModelInput input;
    input.name = name;
    const int32_t type = info.type().tensor_type().elem_type();
    const auto dtype = widened_type(type);
    if (!info.type().has_tensor_type() || !dtype) {
      model.problems.push_back(
          {"", "",
           "input '" + name + "' is no tensor of numbers (" + type_name(type) + "); only float, integer and bool tensors are supported",
           model.opset});
      model.unreadable.insert(name);
    } else {
      input.dtype = *dtype;
      input.stored_as_half = is_half(type);
    }
    std::vector<std::string> symbols;
    if (info.type().tensor_type().shape().dim_size() > kMaxRank) refuse(model, "has an input '" + name + "' of too many dimensions");
    for (const auto& dim : info.type().tensor_type().shape().dim()) {
      // Exporters also write 0 or -1 for an extent that is not known.
      const bool known = dim.has_dim_value() && dim.dim_value() > 0;
      if (dim.dim_value() > kLargestExtent) refuse(model, "has an input '" + name + "' of the extent " + std::to_string(dim.dim_value()));
      input.shape.push_back(known ? dim.dim_value() : -1);
      symbols.push_back(known ? "" : dim.dim_param());
    }
    model.inputs.push_back(std::move(input));
    model.input_has_shape.push_back(info.type().tensor_type().has_shape());
    model.input_symbols.push_back(std::move(symbols));
  }
}

}  // namespace

std::string canonical_domain(const std::string& domain) { return domain == "ai.onnx" ? "" : domain; }

std::string node_name(const onnx::GraphProto& graph, int index) {
  const onnx::NodeProto& node = graph.node(index);
  return node.name().empty() ? node.op_type() + "_" + std::to_string(index) : node.name();
}

std::unique_ptr<ParsedModel> read_model(google::protobuf::io::ZeroCopyInputStream& stream, uint64_t size, std::string_view head,
                                        const std::string& path) {
  auto model = std::make_unique<ParsedModel>();
  model->path = path;
  parse(stream, size, head, *model);
  check_header(*model);
  read_weights(*model);
  read_inputs(*model);
  model->order = topological_order(*model);
  read_constant_nodes(*model);
  refuse_infinite_weights(*model);
  return model;
}

}  // namespace actmatch::onnx_import
