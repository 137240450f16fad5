#include "onnx_import/node_context.h"

#include "onnx_import/graph_builder.h"

namespace actmatch::onnx_import {

NodeContext::NodeContext(GraphBuilder& builder, const onnx::NodeProto& node, std::string name, int64_t opset)
    : attributes(node), builder_(builder), node_(node), name_(std::move(name)), opset_(opset) {
  if (opset < 6) attributes.ignore("consumed_inputs");  // which buffers could be written over
}

size_t NodeContext::input_count() const {
  int count = node_.input_size();
  while (count > 0 && node_.input(count - 1).empty()) --count;
  return static_cast<size_t>(count);
}

bool NodeContext::has(size_t index) const { return index < input_count() && !node_.input(static_cast<int>(index)).empty(); }

ValueId NodeContext::input(size_t index) const {
  if (!has(index)) throw Unsupported("input " + std::to_string(index) + " is missing; the file is damaged");
  if (is_sequence(index)) throw Unsupported("input " + std::to_string(index) + " is a sequence, where a tensor is expected");
  return builder_.value(node_.input(static_cast<int>(index)));
}

std::vector<ValueId> NodeContext::inputs() const {
  std::vector<ValueId> all;
  for (size_t i = 0; i < input_count(); ++i) all.push_back(input(i));
  if (all.empty()) throw Unsupported("it has no inputs; the file is damaged");
  return all;
}

bool NodeContext::is_sequence(size_t index) const {
  return has(index) && builder_.find_sequence(node_.input(static_cast<int>(index))) != nullptr;
}

const std::vector<ValueId>& NodeContext::sequence(size_t index) const {
  if (!is_sequence(index)) throw Unsupported("input " + std::to_string(index) + " is no sequence; the file is damaged");
  return *builder_.find_sequence(node_.input(static_cast<int>(index)));
}

void NodeContext::sequence_result(std::vector<ValueId> values) {
  if (output_count() > 0) builder_.bind_sequence(node_.output(0), std::move(values));
}

const Shape& NodeContext::shape(ValueId value) const { return builder_.graph().value(value).shape; }

DType NodeContext::dtype(ValueId value) const { return builder_.graph().value(value).dtype; }

const Shape* NodeContext::declared_shape(size_t index) const {
  return has(index) ? builder_.declared_shape(node_.input(static_cast<int>(index))) : nullptr;
}

const Shape* NodeContext::declared_output() const { return output_count() > 0 ? builder_.declared_shape(node_.output(0)) : nullptr; }

const Tensor* NodeContext::constant(ValueId value) const {
  return builder_.graph().is_constant(value) ? builder_.graph().value(value).constant.get() : nullptr;
}

const Tensor& NodeContext::need_constant(size_t index, const char* what) const {
  const Tensor* tensor = constant(input(index));
  if (tensor) return *tensor;
  if (builder_.graph().value(input(index)).unfolded)
    throw Unsupported(std::string(what) + " is computed from constants, '" + node_.input(static_cast<int>(index)) +
                      "', at a cost beyond what an import spends on that; export the model with constant folding");
  throw Unsupported(std::string(what) + " depends on the model's input; it must be constant");
}

std::vector<int64_t> NodeContext::integers(size_t index, const char* what) const {
  const Tensor& tensor = need_constant(index, what);
  if (tensor.dtype() != DType::kI64 || tensor.shape().size() > 1)
    throw Unsupported(std::string(what) + " must be a list of integers, not " + name_of(tensor.dtype()) + " " + to_string(tensor.shape()));
  return to_integers(tensor);
}

float NodeContext::number(size_t index, const char* what) const {
  const Tensor& tensor = need_constant(index, what);
  if (tensor.count() != 1)
    throw Unsupported(std::string(what) + " must be a single number, not a tensor of shape " + to_string(tensor.shape()));
  switch (tensor.dtype()) {
    case DType::kF32: return *tensor.data<float>();
    case DType::kI64: return static_cast<float>(*tensor.data<int64_t>());
    case DType::kBool: return static_cast<float>(*tensor.data<uint8_t>());
  }
  return 0.0f;
}

ValueId NodeContext::float_input(size_t index) {
  if (has(index))
    if (const ValueId floats = builder_.small_integers_as_floats(node_.input(static_cast<int>(index))); floats != kNoValue) return floats;
  return cast(input(index), DType::kF32);
}

bool NodeContext::is_float(size_t index) const {
  if (has(index) && builder_.is_picture_of_integers(node_.input(static_cast<int>(index)))) return false;
  if (has(index))
    if (const StoredTensor* stored = builder_.stored(node_.input(static_cast<int>(index)))) return stored->dtype == DType::kF32;
  return dtype(input(index)) == DType::kF32;
}

int32_t NodeContext::stored_type(size_t index) const {
  const StoredTensor* stored = has(index) ? builder_.stored(node_.input(static_cast<int>(index))) : nullptr;
  return stored ? stored->type : 0;
}

bool NodeContext::structure_only() const { return builder_.structure_only(); }

std::vector<ValueId> NodeContext::body(const char* attribute, const std::string& turn, const std::vector<ValueId>& inputs) {
  return body(attributes.graph(attribute), turn, inputs);
}

std::vector<ValueId> NodeContext::body(const onnx::GraphProto& graph, const std::string& turn, const std::vector<ValueId>& inputs) {
  return builder_.lower_body(graph, name_ + "/" + turn + "/", inputs, opset_);
}

void NodeContext::note(const std::string& text) { builder_.note(text); }

bool NodeContext::output_used(size_t index) const {
  return index < output_count() && builder_.is_used(node_.output(static_cast<int>(index)));
}

void NodeContext::refuse_output(size_t index, const char* what) const {
  if (output_used(index)) throw Unsupported(std::string("its output ") + what + " is used, which is not supported");
}

void NodeContext::result(Attributes attrs, std::vector<ValueId> inputs, size_t output) {
  if (output >= output_count()) throw Unsupported("it has too few outputs; the file is damaged");
  const std::string& name = node_.output(static_cast<int>(output));
  const ValueId id = builder_.add_node(name_, std::move(attrs), std::move(inputs), name);
  builder_.bind(name, id);
}

void NodeContext::alias(ValueId value, size_t output) {
  if (output >= output_count()) throw Unsupported("it has too few outputs; the file is damaged");
  builder_.bind_alias(node_.output(static_cast<int>(output)), value);
}

ValueId NodeContext::step(Attributes attrs, std::vector<ValueId> inputs) {
  const std::string suffix = "#" + std::to_string(++steps_);  // no exporter writes such names
  return builder_.add_node(name_ + suffix, std::move(attrs), std::move(inputs), name_ + suffix);
}

ValueId NodeContext::constant(Tensor tensor, bool is_result) {
  const bool named = is_result && output_count() > 0;
  return builder_.add_constant(named ? node_.output(0) : name_ + "#" + std::to_string(++steps_), std::move(tensor));
}

ValueId NodeContext::vector(const std::vector<int64_t>& values) {
  return constant(Tensor::of<int64_t>({static_cast<int64_t>(values.size())}, values));
}

ValueId NodeContext::reshape(ValueId value, Shape wanted) {
  if (shape(value) == wanted) return value;
  return step(ReshapeAttrs{std::move(wanted)}, {value});
}

ValueId NodeContext::cast(ValueId value, DType to) { return dtype(value) == to ? value : step(CastAttrs{to}, {value}); }

std::vector<int64_t> to_integers(const Tensor& tensor) {
  const auto view = tensor.view<int64_t>();
  return {view.begin(), view.end()};
}

int64_t bounded_count(const Shape& shape, int64_t limit) {
  int64_t count = 1;
  for (int64_t extent : shape) {
    if (extent < 0) throw Unsupported("a shape with the negative extent " + std::to_string(extent));
    if (extent != 0 && count > limit / extent)
      throw Unsupported("a tensor of shape " + to_string(shape) + " has more than " + std::to_string(limit) + " elements, the limit here");
    count *= extent;
  }
  return count;
}

}  // namespace actmatch::onnx_import
