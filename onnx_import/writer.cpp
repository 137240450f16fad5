#include "onnx_import/writer.h"

#include <algorithm>
#include <set>
#include <span>
#include <vector>

#include "engine/core/error.h"
#include "engine/image/file.h"
#include "onnx/onnx.pb.h"

namespace actmatch::onnx_import {

namespace {

constexpr int64_t kOpset = 13, kIrVersion = 7;

// Overloads for std::visit.
template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

class Writer {
 public:
  Writer(const Graph& graph, const WriteOptions& options) : graph_(graph), options_(options) {}

  std::string write() {
    onnx::ModelProto model;
    model.set_ir_version(kIrVersion);
    model.set_producer_name("actmatch");
    auto* opset = model.add_opset_import();
    opset->set_domain("");
    opset->set_version(kOpset);
    for (const auto& [key, value] : options_.metadata) {
      auto* entry = model.add_metadata_props();
      entry->set_key(key), entry->set_value(value);
    }
    proto_ = model.mutable_graph();
    proto_->set_name(options_.name);
    for (ValueId id : graph_.inputs()) describe(id, *proto_->add_input());
    for (const Node& node : graph_.nodes()) add(node);
    for (ValueId id : graph_.outputs()) describe(id, *proto_->add_output());
    return model.SerializeAsString();
  }

 private:
  // Names are for people in the graph; a file needs each of them once.
  std::string name_of(ValueId id) {
    if (const auto it = names_.find(id); it != names_.end()) return it->second;
    const Value& value = graph_.value(id);
    std::string name = value.name.empty() ? "value" + std::to_string(id) : value.name;
    if (!taken_.insert(name).second) taken_.insert(name += "_" + std::to_string(id));
    if (value.constant && (value.kind == ValueKind::kConstant || value.kind == ValueKind::kParameter)) add_tensor(name, *value.constant);
    return names_[id] = name;
  }

  void describe(ValueId id, onnx::ValueInfoProto& info) {
    const Value& value = graph_.value(id);
    info.set_name(name_of(id));
    auto* type = info.mutable_type()->mutable_tensor_type();
    type->set_elem_type(onnx::TensorProto::FLOAT);
    for (size_t axis = 0; axis < value.shape.size(); ++axis) {
      auto* extent = type->mutable_shape()->add_dim();
      if (axis == 0)
        extent->set_dim_param(options_.batch);
      else
        extent->set_dim_value(value.shape[axis]);
    }
  }

  void add_tensor(const std::string& name, const Tensor& tensor) {
    auto* proto = proto_->add_initializer();
    proto->set_name(name);
    for (int64_t extent : tensor.shape()) proto->add_dims(extent);
    if (tensor.dtype() == DType::kBool) throw Error(ErrorCode::kUnsupported, "constant '" + name + "' of truth values cannot be written");
    proto->set_data_type(tensor.dtype() == DType::kF32 ? onnx::TensorProto::FLOAT : onnx::TensorProto::INT64);
    proto->set_raw_data(tensor.raw(), tensor.bytes());
  }
  // A further input of a node, which in the graph is an attribute.
  void add_list(onnx::NodeProto& node, const std::string& what, const std::vector<int64_t>& values) {
    std::string name = node.name() + "." + what;
    while (!taken_.insert(name).second) name += "_";
    add_tensor(name, Tensor::of<int64_t>({static_cast<int64_t>(values.size())}, std::span<const int64_t>(values)));
    node.add_input(name);
  }
  void add_number(onnx::NodeProto& node, const std::string& what, float value) {
    std::string name = node.name() + "." + what;
    while (!taken_.insert(name).second) name += "_";
    add_tensor(name, Tensor::scalar(value));
    node.add_input(name);
  }

  static void set(onnx::NodeProto& node, const char* name, int64_t value) {
    auto* a = node.add_attribute();
    a->set_name(name), a->set_type(onnx::AttributeProto::INT), a->set_i(value);
  }
  static void set(onnx::NodeProto& node, const char* name, float value) {
    auto* a = node.add_attribute();
    a->set_name(name), a->set_type(onnx::AttributeProto::FLOAT), a->set_f(value);
  }
  static void set(onnx::NodeProto& node, const char* name, const std::string& value) {
    auto* a = node.add_attribute();
    a->set_name(name), a->set_type(onnx::AttributeProto::STRING), a->set_s(value);
  }
  static void set(onnx::NodeProto& node, const char* name, std::span<const int64_t> values) {
    auto* a = node.add_attribute();
    a->set_name(name), a->set_type(onnx::AttributeProto::INTS);
    for (int64_t v : values) a->add_ints(v);
  }

  [[noreturn]] static void refuse(const Node& node, const std::string& why) {
    throw Error(ErrorCode::kUnsupported,
                "node '" + node.name + "' (" + actmatch::name_of(node.op()) + ") cannot be written to an ONNX file: " + why);
  }

  void add(const Node& node) {
    onnx::NodeProto& out = *proto_->add_node();
    out.set_name(node.name);
    for (ValueId input : node.inputs) out.add_input(input == kNoValue ? "" : name_of(input));
    std::visit(Overloaded{[&](const ConvAttrs& a) {
                            refuse_instances(node);
                            out.set_op_type("Conv");
                            set_window(out, a);
                          },
                          [&](const ConvTransposeAttrs& a) {
                            refuse_instances(node);
                            out.set_op_type("ConvTranspose");
                            set_window(out, a);
                            set(out, "output_padding", std::span<const int64_t>(a.output_padding));
                          },
                          [&](const PoolAttrs& a) { add_pool(out, a); }, [&](const UnaryAttrs& a) { add_unary(out, node, a); },
                          [&](const BinaryAttrs& a) { add_binary(out, node, a); },
                          [&](const ConcatAttrs& a) {
                            if (a.axis == 0) refuse(node, "it joins along the batch");
                            out.set_op_type("Concat");
                            set(out, "axis", a.axis);
                          },
                          [&](const ReduceAttrs& a) { add_reduce(out, node, a); }, [&](const PadAttrs& a) { add_pad(out, node, a); },
                          [&](const SliceAttrs& a) { add_slice(out, node, a); }, [&](const ResizeAttrs& a) { add_resize(out, node, a); },
                          [&](const auto&) { refuse(node, "that operator is not among those that are written"); }},
               node.attrs);
    out.add_output(name_of(node.output));
  }

  void refuse_instances(const Node& node) const {
    if (has_instances(graph_.value(node.inputs[1]).shape)) refuse(node, "each picture has weights of its own");
  }
  template <class Attrs>
  static void set_window(onnx::NodeProto& out, const Attrs& a) {
    set(out, "strides", std::span<const int64_t>(a.strides));
    set(out, "pads", std::span<const int64_t>(a.pads));
    set(out, "dilations", std::span<const int64_t>(a.dilations));
    set(out, "group", a.groups);
  }
  static void add_pool(onnx::NodeProto& out, const PoolAttrs& a) {
    out.set_op_type(a.mode == PoolMode::kMax ? "MaxPool" : "AveragePool");
    set(out, "kernel_shape", std::span<const int64_t>(a.kernel));
    set(out, "strides", std::span<const int64_t>(a.strides));
    set(out, "pads", std::span<const int64_t>(a.pads));
    set(out, "ceil_mode", int64_t{a.ceil_mode});
    if (a.mode == PoolMode::kMax)
      set(out, "dilations", std::span<const int64_t>(a.dilations));
    else
      set(out, "count_include_pad", int64_t{a.mode == PoolMode::kAverageIncludePad});
  }
  static void add_unary(onnx::NodeProto& out, const Node& node, const UnaryAttrs& a) {
    switch (a.kind) {
      case UnaryKind::kRelu: out.set_op_type("Relu"); return;
      case UnaryKind::kSqrt: out.set_op_type("Sqrt"); return;
      case UnaryKind::kSigmoid: out.set_op_type("Sigmoid"); return;
      case UnaryKind::kTanh: out.set_op_type("Tanh"); return;
      case UnaryKind::kSoftplus: out.set_op_type("Softplus"); return;
      case UnaryKind::kIdentity: out.set_op_type("Identity"); return;
      case UnaryKind::kLeakyRelu: out.set_op_type("LeakyRelu"), set(out, "alpha", a.alpha); return;
      case UnaryKind::kElu: out.set_op_type("Elu"), set(out, "alpha", a.alpha); return;
      default: refuse(node, std::string("the function ") + actmatch::name_of(a.kind) + " is not among those that are written");
    }
  }
  void add_binary(onnx::NodeProto& out, const Node& node, const BinaryAttrs& a) const {
    for (ValueId input : node.inputs) {  // a constant that counts the pictures would fix their number
      const Value& v = graph_.value(input);
      const auto rank = graph_.value(node.output).shape.size();
      if (v.constant && v.shape.size() == rank && rank > 0 && v.shape[0] != 1) refuse(node, "a constant has one entry for each picture");
    }
    switch (a.kind) {
      case BinaryKind::kAdd: out.set_op_type("Add"); return;
      case BinaryKind::kSub: out.set_op_type("Sub"); return;
      case BinaryKind::kMul: out.set_op_type("Mul"); return;
      case BinaryKind::kDiv: out.set_op_type("Div"); return;
      default: refuse(node, std::string(actmatch::name_of(a.kind)) + " is not among the arithmetic that is written");
    }
  }
  static void add_reduce(onnx::NodeProto& out, const Node& node, const ReduceAttrs& a) {
    if (a.kind == ReduceKind::kSum) refuse(node, "sums are not among what is written, means are");  // their axes are an input
    if (a.axes.empty() || a.axes[0] == 0) refuse(node, "it goes over the batch");
    out.set_op_type(a.kind == ReduceKind::kMean ? "ReduceMean" : a.kind == ReduceKind::kMax ? "ReduceMax" : "ReduceMin");
    set(out, "axes", std::span<const int64_t>(a.axes));
    set(out, "keepdims", int64_t{a.keep_dims});
  }
  void add_pad(onnx::NodeProto& out, const Node& node, const PadAttrs& a) {
    if (a.before[0] != 0 || a.after[0] != 0) refuse(node, "it pads the batch");
    out.set_op_type("Pad");
    set(out, "mode", std::string(a.mode == PadMode::kEdge ? "edge" : a.mode == PadMode::kReflect ? "reflect" : "constant"));
    std::vector<int64_t> pads = a.before;
    pads.insert(pads.end(), a.after.begin(), a.after.end());
    add_list(out, "pads", pads);
    if (a.mode == PadMode::kConstant) add_number(out, "value", a.value);
  }
  void add_slice(onnx::NodeProto& out, const Node& node, const SliceAttrs& a) {
    const Shape& from = graph_.value(node.inputs[0]).shape;
    if (a.starts[0] != 0 || a.steps[0] != 1 || a.sizes[0] != from[0]) refuse(node, "it cuts the batch");
    std::vector<int64_t> ends, axes;
    for (size_t axis = 1; axis < from.size(); ++axis) {
      if (a.steps[axis] < 1) refuse(node, "it goes backwards");
      axes.push_back(static_cast<int64_t>(axis));
      ends.push_back(a.starts[axis] + (a.sizes[axis] - 1) * a.steps[axis] + 1);
    }
    out.set_op_type("Slice");
    add_list(out, "starts", {a.starts.begin() + 1, a.starts.end()});
    add_list(out, "ends", ends);
    add_list(out, "axes", axes);
    add_list(out, "steps", {a.steps.begin() + 1, a.steps.end()});
  }
  void add_resize(onnx::NodeProto& out, const Node& node, const ResizeAttrs& a) {
    const Shape& from = graph_.value(node.inputs[0]).shape;
    if (a.height % from[2] != 0 || a.width % from[3] != 0) refuse(node, "it enlarges by a broken factor");
    out.set_op_type("Resize");
    const bool linear = a.mode == ResizeMode::kLinear;
    set(out, "mode", std::string(linear ? "linear" : "nearest"));
    set(out, "coordinate_transformation_mode", std::string(linear ? "half_pixel" : "asymmetric"));
    if (!linear) set(out, "nearest_mode", std::string("floor"));
    out.add_input("");  // no region; scales instead of sizes, since sizes would fix the batch
    const int64_t down = a.height / from[2], across = a.width / from[3];
    const float scales[] = {1, 1, static_cast<float>(down), static_cast<float>(across)};
    std::string name = node.name + ".scales";
    while (!taken_.insert(name).second) name += "_";
    add_tensor(name, Tensor::of<float>({4}, std::span<const float>(scales)));
    out.add_input(name);
  }

  const Graph& graph_;
  const WriteOptions& options_;
  onnx::GraphProto* proto_ = nullptr;
  std::map<ValueId, std::string> names_;
  std::set<std::string> taken_;
};

}  // namespace

std::string write_model(const Graph& graph, const WriteOptions& options) { return Writer(graph, options).write(); }

std::map<std::string, std::string> read_metadata(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path);
  onnx::ModelProto model;
  std::map<std::string, std::string> metadata;
  if (bytes.size() > size_t{INT32_MAX} || !model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return metadata;
  for (const auto& entry : model.metadata_props()) metadata[entry.key()] = entry.value();
  return metadata;
}

}  // namespace actmatch::onnx_import
