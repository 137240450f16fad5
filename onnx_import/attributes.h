// Typed access to a node's attributes. What no one has read at the end is reported, so that nothing in a file is silently ignored.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "onnx/onnx.pb.h"

namespace actmatch::onnx_import {

// Readers throw Unsupported (node_context.h) when the attribute has another type or a value outside [low, high].
class AttributeReader {
 public:
  // Sizes, strides and pads past this mean nothing for images; the bound keeps every product of two within 64 bits.
  static constexpr int64_t kLargest = int64_t{1} << 24;

  explicit AttributeReader(const onnx::NodeProto& node) : node_(node) {}

  bool has(const char* name) const { return find(name) != nullptr; }
  int64_t integer(const char* name, int64_t otherwise, int64_t low = -kLargest, int64_t high = kLargest) const;
  bool flag(const char* name, bool otherwise) const { return integer(name, otherwise ? 1 : 0, 0, 1) != 0; }
  float number(const char* name, float otherwise) const;
  std::string text(const char* name, const std::string& otherwise) const;
  // Empty when absent.
  std::vector<int64_t> integers(const char* name, int64_t low = std::numeric_limits<int64_t>::min(),
                                int64_t high = std::numeric_limits<int64_t>::max()) const;
  std::vector<float> numbers(const char* name) const;
  std::vector<std::string> texts(const char* name) const;
  const onnx::TensorProto* tensor(const char* name) const;   // null when absent
  const onnx::GraphProto& graph(const char* name) const;     // throws when absent
  void ignore(const char* name) const { (void)find(name); }  // for attributes that mean nothing here

  void copy_to(onnx::NodeProto& node) const;  // all of them, which counts as reading them

  std::vector<std::string> unread() const;

 private:
  const onnx::AttributeProto* find(const char* name) const;
  const onnx::AttributeProto* find(const char* name, onnx::AttributeProto::AttributeType type) const;
  const onnx::NodeProto& node_;
  mutable std::unordered_set<std::string> read_;
};

}  // namespace actmatch::onnx_import
