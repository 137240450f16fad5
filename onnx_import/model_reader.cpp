#include "onnx_import/model_reader.h"

#include <algorithm>
#include <charconv>

#include "engine/core/error.h"
#include "onnx_import/external_data.h"
#include "onnx_import/functions.h"
#include "onnx_import/graph_order.h"
#include "onnx_import/initializers.h"
#include "onnx_import/skeleton.h"

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

// Returns where the data lies that is not in the proto.
std::vector<Stretch> parse(const ByteSource& source, ParsedModel& model) {
  if (source.size() == 0) refuse(model, "is empty; an ONNX file is expected");
  char head[8] = {};
  const auto start = static_cast<size_t>(std::min<uint64_t>(source.size(), sizeof(head)));
  source.read(0, std::as_writable_bytes(std::span(head, start)));
  refuse_known_strangers({head, start}, model);
  Skeleton skeleton = read_skeleton(source, model.path);
  if (!model.proto.ParseFromString(skeleton.bytes))
    refuse(model, "is not an ONNX file, or it is truncated or damaged; check that it was copied completely");
  return std::move(skeleton.stretches);
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

// What is left of a tensor that has been read: its name. Clear() would keep the memory.
void release(onnx::TensorProto& tensor) {
  const std::string name = tensor.name();
  onnx::TensorProto().Swap(&tensor);
  tensor.set_name(name);
}

class WeightReader {
 public:
  WeightReader(ParsedModel& model, std::shared_ptr<const ByteSource> source, std::vector<Stretch> stretches, bool in_file)
      : model_(model),
        source_(std::move(source)),
        stretches_(std::move(stretches)),
        in_file_(in_file),
        external_(in_file ? model.path : "") {}

  void initializers() {
    onnx::GraphProto& graph = *model_.proto.mutable_graph();
    for (auto& tensor : *graph.mutable_initializer()) {
      const std::string name = tensor.name();
      if (name.empty()) refuse(model_, "has an initializer without a name; export the model again");
      if (stored_type(tensor.data_type()) == DType::kF32) model_.parameter_count += count_of(tensor);
      add(name, tensor, "initializer");
    }
    for (auto& sparse : *graph.mutable_sparse_initializer()) {
      const std::string name = sparse.values().name();
      if (name.empty()) refuse(model_, "has a sparse initializer without a name; export the model again");
      guarded(
          name,
          [&](const std::string& where) {
            return model_.weights.add(name, read_sparse_tensor(sparse, where), sparse.values().data_type());
          },
          "initializer");
      onnx::SparseTensorProto().Swap(&sparse);
      sparse.mutable_values()->set_name(name);
    }
    for (const auto& [path, file] : external_.files()) model_.external_files.push_back(path);
  }

  void constant_nodes() {
    onnx::GraphProto& graph = *model_.proto.mutable_graph();
    std::vector<int> remaining;
    for (int index : model_.order) {
      onnx::NodeProto& node = *graph.mutable_node(index);
      if (onnx::TensorProto* tensor = constant_tensor(node))
        add(node.output(0), *tensor, "the constant");
      else
        remaining.push_back(index);
    }
    model_.order = std::move(remaining);
  }

 private:
  static int64_t count_of(const onnx::TensorProto& tensor) {
    int64_t count = 1;
    for (int64_t extent : tensor.dims()) count = extent < 0 || (extent > 0 && count > (int64_t{1} << 48) / extent) ? 0 : count * extent;
    return count;
  }

  void add(const std::string& name, onnx::TensorProto& tensor, const std::string& kind) {
    const Stretch* stretch = stretch_of(tensor, stretches_);
    const bool external = !stretch && is_external(tensor);
    guarded(
        name,
        [&](const std::string& where) {
          if (!stretch && !external) return model_.weights.add(name, read_tensor(tensor, where), tensor.data_type());
          StoredTensor stored = external ? external_.locate(tensor, where) : stored_tensor(tensor, *stretch, source_, where);
          if (in_file_) return model_.weights.add(name, std::move(stored));
          return model_.weights.add(name, read_stored(stored, stored.dtype), stored.type);
        },
        kind, external);
    release(tensor);
  }

  template <class Read>
  void guarded(const std::string& name, Read read, const std::string& kind, bool final = false) {
    if (model_.weights.contains(name) || model_.unreadable.contains(name)) refuse(model_, "defines the initializer '" + name + "' twice");
    try {
      read("'" + model_.path + "': " + kind + " '" + name + "'");
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported || final) throw;  // of weights in other files the first trouble is enough
      model_.problems.push_back({"", "", error.what(), model_.opset});
      model_.unreadable.insert(name);
    }
  }

  ParsedModel& model_;
  std::shared_ptr<const ByteSource> source_;
  std::vector<Stretch> stretches_;
  bool in_file_;
  ExternalFiles external_;
};

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

// In the documentation of the node, which is not read from files.
int64_t node_opset(const onnx::NodeProto& node) {
  int64_t opset = 0;
  const std::string& text = node.doc_string();
  std::from_chars(text.data(), text.data() + text.size(), opset);
  return opset;
}

void set_node_opset(onnx::NodeProto& node, int64_t opset) { node.set_doc_string(std::to_string(opset)); }

std::unique_ptr<ParsedModel> read_model(std::shared_ptr<const ByteSource> source, const std::string& path, bool in_file) {
  auto model = std::make_unique<ParsedModel>();
  model->path = path;
  std::vector<Stretch> stretches = parse(*source, *model);
  check_header(*model);
  inline_functions(*model);
  WeightReader weights(*model, std::move(source), std::move(stretches), in_file);
  weights.initializers();
  read_inputs(*model);
  model->order = topological_order(*model);
  weights.constant_nodes();
  return model;
}

}  // namespace actmatch::onnx_import
