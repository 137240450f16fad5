// Sequences whose length is known at import: exporters write them for lists of tensors, chunks and splits.
#include <algorithm>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

// A position that counts from the end where it is negative; `end`: one past the last is allowed.
size_t position(const NodeContext& c, size_t index, size_t length, bool end) {
  const std::vector<int64_t> given = c.integers(index, "the position");
  const auto n = static_cast<int64_t>(length);
  if (given.size() != 1) throw Unsupported("the position must be a single number");
  const int64_t at = given[0] < 0 ? given[0] + n : given[0];
  if (at < 0 || at > n - (end ? 0 : 1))
    throw Unsupported("the position " + std::to_string(given[0]) + " lies outside a sequence of " + std::to_string(length));
  return static_cast<size_t>(at);
}

}  // namespace

void lower_sequence_construct(NodeContext& c) { c.sequence_result(c.inputs()); }

void lower_sequence_empty(NodeContext& c) {
  c.attributes.ignore("dtype");
  c.sequence_result({});
}

void lower_sequence_at(NodeContext& c) {
  const auto& values = c.sequence(0);
  c.alias(values[position(c, 1, values.size(), false)]);
}

void lower_sequence_insert(NodeContext& c) {
  std::vector<ValueId> values = c.sequence(0);
  const size_t at = c.has(2) ? position(c, 2, values.size(), true) : values.size();
  values.insert(values.begin() + static_cast<std::ptrdiff_t>(at), c.input(1));
  c.sequence_result(std::move(values));
}

void lower_sequence_erase(NodeContext& c) {
  std::vector<ValueId> values = c.sequence(0);
  if (values.empty()) throw Unsupported("the sequence is empty");
  const size_t at = c.has(1) ? position(c, 1, values.size(), false) : values.size() - 1;
  values.erase(values.begin() + static_cast<std::ptrdiff_t>(at));
  c.sequence_result(std::move(values));
}

void lower_sequence_length(NodeContext& c) { c.constant_result(Tensor::scalar(static_cast<int64_t>(c.sequence(0).size()))); }

// Joined along an axis, or along a new one.
void lower_concat_from_sequence(NodeContext& c) {
  std::vector<ValueId> values = c.sequence(0);
  if (values.empty()) throw Unsupported("the sequence is empty");
  const bool fresh = c.attributes.flag("new_axis", false);
  const int64_t axis = normalise_axis(c.attributes.integer("axis", 0), c.rank(values[0]) + (fresh ? 1 : 0));
  if (fresh)
    for (ValueId& value : values) {
      Shape shape = c.shape(value);
      if (static_cast<int64_t>(shape.size()) < axis) throw Unsupported("its elements differ in rank");
      shape.insert(shape.begin() + axis, 1);
      value = c.reshape(value, std::move(shape));
    }
  c.alias(concat(c, std::move(values), static_cast<size_t>(axis)));
}

// Into parts of one size (the last may be smaller), or of listed sizes; without either, one by one.
void lower_split_to_sequence(NodeContext& c) {
  const ValueId x = c.input(0);
  const auto axis = static_cast<size_t>(normalise_axis(c.attributes.integer("axis", 0), c.rank(x)));
  const int64_t extent = c.shape(x)[axis];
  constexpr int64_t kMostParts = int64_t{1} << 16;
  const bool drop = !c.has(1) && !c.attributes.flag("keepdims", true);
  c.attributes.ignore("keepdims");
  std::vector<int64_t> sizes;
  if (c.has(1) && c.rank(c.input(1)) > 0) {
    sizes = c.integers(1, "the list of parts");
  } else {
    const int64_t size = c.has(1) ? c.integers(1, "the size of the parts").at(0) : 1;
    if (size < 1 || extent / size > kMostParts) throw Unsupported("parts of " + std::to_string(size) + " elements are out of range");
    for (int64_t start = 0; start < extent; start += size) sizes.push_back(std::min(size, extent - start));
  }
  std::vector<ValueId> parts;
  int64_t start = 0;
  for (int64_t size : sizes) {
    if (size < 0 || size > extent - start) throw Unsupported("its parts do not add up to " + std::to_string(extent));
    ValueId part = slice(c, x, axis, start, size);
    if (drop) {
      Shape shape = c.shape(part);
      shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
      part = c.reshape(part, std::move(shape));
    }
    parts.push_back(part);
    start += size;
  }
  if (start != extent) throw Unsupported("its parts do not add up to " + std::to_string(extent));
  c.sequence_result(std::move(parts));
}

}  // namespace actmatch::onnx_import
