// Small ONNX files made in a test, without a file: inputs, initializers and nodes by name.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "onnx/onnx.pb.h"
#include "onnx_import/importer.h"

namespace actmatch::onnx_import {

class ModelMaker {
 public:
  explicit ModelMaker(int64_t opset = 13, int64_t ir_version = 8) {
    proto.set_ir_version(ir_version);
    proto.set_producer_name("test");
    proto.mutable_graph()->set_name("g");
    auto* import = proto.add_opset_import();
    import->set_domain("");
    import->set_version(opset);
  }

  // -1: symbolic, named N on axis 0 and D<axis> elsewhere.
  ModelMaker& input(const std::string& name, const std::vector<int64_t>& dims, int type = onnx::TensorProto::FLOAT) {
    auto* tensor = describe(proto.mutable_graph()->add_input(), name, type);
    auto* shape = tensor->mutable_shape();
    for (size_t i = 0; i < dims.size(); ++i) {
      if (dims[i] < 0)
        shape->add_dim()->set_dim_param(i == 0 ? std::string("N") : std::string("D").append(std::to_string(i)));
      else
        shape->add_dim()->set_dim_value(dims[i]);
    }
    return *this;
  }

  ModelMaker& output(const std::string& name) {
    describe(proto.mutable_graph()->add_output(), name, onnx::TensorProto::FLOAT);
    return *this;
  }

  ModelMaker& floats(const std::string& name, const std::vector<int64_t>& dims, const std::vector<float>& values) {
    auto* tensor = initializer(name, dims, onnx::TensorProto::FLOAT);
    for (float v : values) tensor->add_float_data(v);
    return *this;
  }

  // All elements the same.
  ModelMaker& filled(const std::string& name, const std::vector<int64_t>& dims, float value) {
    int64_t count = 1;
    for (int64_t d : dims) count *= d;
    return floats(name, dims, std::vector<float>(static_cast<size_t>(count), value));
  }

  ModelMaker& ints(const std::string& name, const std::vector<int64_t>& values) {
    return ints(name, {static_cast<int64_t>(values.size())}, values);
  }

  ModelMaker& ints(const std::string& name, const std::vector<int64_t>& dims, const std::vector<int64_t>& values) {
    auto* tensor = initializer(name, dims, onnx::TensorProto::INT64);
    for (int64_t v : values) tensor->add_int64_data(v);
    return *this;
  }

  onnx::TensorProto* initializer(const std::string& name, const std::vector<int64_t>& dims, int type) {
    auto* tensor = proto.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(type);
    for (int64_t d : dims) tensor->add_dims(d);
    return tensor;
  }

  // The new node; its attributes are added with `set`.
  ModelMaker& node(const std::string& op, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                   const std::string& name = {}) {
    last = proto.mutable_graph()->add_node();
    last->set_op_type(op);
    last->set_name(name);
    for (const auto& i : inputs) last->add_input(i);
    for (const auto& o : outputs) last->add_output(o);
    return *this;
  }

  ModelMaker& set(const std::string& name, int64_t value) {
    auto* a = attribute(name, onnx::AttributeProto::INT);
    a->set_i(value);
    return *this;
  }
  ModelMaker& set(const std::string& name, float value) {
    attribute(name, onnx::AttributeProto::FLOAT)->set_f(value);
    return *this;
  }
  ModelMaker& set(const std::string& name, const char* value) {
    attribute(name, onnx::AttributeProto::STRING)->set_s(value);
    return *this;
  }
  ModelMaker& set(const std::string& name, const std::vector<int64_t>& values) {
    auto* a = attribute(name, onnx::AttributeProto::INTS);
    for (int64_t v : values) a->add_ints(v);
    return *this;
  }
  ModelMaker& set(const std::string& name, const std::vector<float>& values) {
    auto* a = attribute(name, onnx::AttributeProto::FLOATS);
    for (float v : values) a->add_floats(v);
    return *this;
  }
  onnx::AttributeProto* attribute(const std::string& name, onnx::AttributeProto::AttributeType type) {
    auto* a = last->add_attribute();
    a->set_name(name);
    a->set_type(type);
    return a;
  }

  std::string bytes() const { return proto.SerializeAsString(); }
  Model model() const { return parse(bytes()); }
  Graph build(const BuildOptions& options = {}) const { return model().build(options); }
  static Model parse(const std::string& text) { return Model::from_bytes(std::as_bytes(std::span(text.data(), text.size())), "test.onnx"); }

  onnx::ModelProto proto;
  onnx::NodeProto* last = nullptr;

 private:
  static onnx::TypeProto::Tensor* describe(onnx::ValueInfoProto* info, const std::string& name, int type) {
    info->set_name(name);
    auto* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    return tensor;
  }
};

// The text of the Error that `action` throws, "" when it throws none.
template <class Action>
std::string error_text(Action action, ErrorCode* code = nullptr) {
  try {
    action();
  } catch (const Error& error) {
    if (code) *code = error.code();
    return error.what();
  }
  return {};
}

// `text` is one line and holds all of `parts`.
inline void expect_all(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts) EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

// Output 0 of a file all of whose inputs are initializers: import computes it.
inline Tensor computed(const ModelMaker& maker) {
  const Graph graph = maker.build();
  const Value& value = graph.value(graph.outputs().at(0));
  if (!value.constant) throw Error(ErrorCode::kInternal, "not constant:\n" + graph.dump());
  return *value.constant;
}

template <class T>
std::vector<T> elements(const Tensor& tensor) {
  const auto view = tensor.view<T>();
  return {view.begin(), view.end()};
}

// Output 0 of such a file, as floats.
inline std::vector<float> result_of(const Model& model) {
  const Graph graph = model.build();
  return elements<float>(*graph.value(graph.outputs().at(0)).constant);
}

}  // namespace actmatch::onnx_import
