#include "onnx_import/attributes.h"

#include "onnx_import/node_context.h"

namespace actmatch::onnx_import {

using onnx::AttributeProto;

const AttributeProto* AttributeReader::find(const char* name) const {
  read_.insert(name);
  for (const auto& attribute : node_.attribute())
    if (attribute.name() == name) return &attribute;
  return nullptr;
}

const AttributeProto* AttributeReader::find(const char* name, AttributeProto::AttributeType type) const {
  const AttributeProto* attribute = find(name);
  if (attribute && attribute->has_type() && attribute->type() != type)
    throw Unsupported(std::string("attribute '") + name + "' has the wrong type; the file is damaged");
  if (attribute && !attribute->ref_attr_name().empty())
    throw Unsupported(std::string("attribute '") + name + "' refers to one of a function that is not there; the file is damaged");
  return attribute;
}

int64_t AttributeReader::integer(const char* name, int64_t otherwise, int64_t low, int64_t high) const {
  const AttributeProto* attribute = find(name, AttributeProto::INT);
  if (!attribute) return otherwise;
  if (attribute->i() < low || attribute->i() > high)
    throw Unsupported(std::string("attribute '") + name + "' is " + std::to_string(attribute->i()) + ", outside " + std::to_string(low) +
                      " to " + std::to_string(high));
  return attribute->i();
}

float AttributeReader::number(const char* name, float otherwise) const {
  const AttributeProto* attribute = find(name, AttributeProto::FLOAT);
  return attribute ? attribute->f() : otherwise;
}

std::string AttributeReader::text(const char* name, const std::string& otherwise) const {
  const AttributeProto* attribute = find(name, AttributeProto::STRING);
  return attribute ? attribute->s() : otherwise;
}

std::vector<int64_t> AttributeReader::integers(const char* name, int64_t low, int64_t high) const {
  const AttributeProto* attribute = find(name, AttributeProto::INTS);
  if (!attribute) return {};
  for (int64_t value : attribute->ints())
    if (value < low || value > high)
      throw Unsupported(std::string("attribute '") + name + "' holds " + std::to_string(value) + ", outside " + std::to_string(low) +
                        " to " + std::to_string(high));
  return {attribute->ints().begin(), attribute->ints().end()};
}

std::vector<float> AttributeReader::numbers(const char* name) const {
  const AttributeProto* attribute = find(name, AttributeProto::FLOATS);
  if (!attribute) return {};
  return {attribute->floats().begin(), attribute->floats().end()};
}

std::vector<std::string> AttributeReader::texts(const char* name) const {
  const AttributeProto* attribute = find(name, AttributeProto::STRINGS);
  if (!attribute) return {};
  return {attribute->strings().begin(), attribute->strings().end()};
}

const onnx::TensorProto* AttributeReader::tensor(const char* name) const {
  const AttributeProto* attribute = find(name, AttributeProto::TENSOR);
  return attribute ? &attribute->t() : nullptr;
}

const onnx::GraphProto& AttributeReader::graph(const char* name) const {
  const AttributeProto* attribute = find(name, AttributeProto::GRAPH);
  if (!attribute || !attribute->has_g()) throw Unsupported(std::string("attribute '") + name + "' is missing; the file is damaged");
  return attribute->g();
}

void AttributeReader::copy_to(onnx::NodeProto& node) const {
  for (const auto& attribute : node_.attribute()) {
    read_.insert(attribute.name());
    *node.add_attribute() = attribute;
  }
}

std::vector<std::string> AttributeReader::unread() const {
  std::vector<std::string> names;
  for (const auto& attribute : node_.attribute())
    if (!read_.contains(attribute.name())) names.push_back(attribute.name());
  return names;
}

}  // namespace actmatch::onnx_import
