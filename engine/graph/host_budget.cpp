#include "engine/graph/host_budget.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace actmatch {
namespace {

// What a given constant allows, by element and by byte: enough to dequantise, convert and transpose every weight several times.
constexpr int64_t kOperationsPerElement = 64;
constexpr int64_t kBytesPerByte = 4;

// Past this nothing is ever affordable, and sums of a few stay in range.
constexpr int64_t kEndless = std::numeric_limits<int64_t>::max() / 8;

int64_t times(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? kEndless : std::min(product, kEndless);
}

int64_t operations_an_element(const UnaryAttrs& a) {
  switch (a.kind) {
    case UnaryKind::kRelu:
    case UnaryKind::kLeakyRelu:
    case UnaryKind::kClip:
    case UnaryKind::kReciprocal:
    case UnaryKind::kNeg:
    case UnaryKind::kAbs:
    case UnaryKind::kHardSigmoid:
    case UnaryKind::kHardSwish:
    case UnaryKind::kNot: return 2;
    default: return 16;
  }
}

// Nothing is copied where the elements stay what they are.
bool shares_bytes(const Attributes& attrs, const Tensor& x, DType dtype) {
  if (const auto* unary = std::get_if<UnaryAttrs>(&attrs)) return unary->kind == UnaryKind::kIdentity;
  return kind_of(attrs) == OpKind::kReshape || (kind_of(attrs) == OpKind::kCast && x.dtype() == dtype);
}

struct Operations {
  std::span<const Tensor* const> inputs;
  const Shape& shape;
  int64_t results;  // elements

  int64_t operator()(const MatMulAttrs& a) const {
    const Shape& left = inputs[0]->shape();
    return times(results, left[left.size() - (a.transpose_a ? 2 : 1)] + 2);
  }
  int64_t operator()(const ReduceAttrs&) const { return times(4, inputs[0]->count()) + results; }
  int64_t operator()(const UnaryAttrs& a) const { return times(operations_an_element(a), results); }
  int64_t operator()(const BinaryAttrs& a) const { return times(a.kind == BinaryKind::kPow ? 32 : 4, results); }
  int64_t operator()(const SoftmaxAttrs&) const { return times(32, results); }
  int64_t operator()(const TopKAttrs& a) const {
    const auto extent = static_cast<uint64_t>(inputs[0]->shape()[static_cast<size_t>(a.axis)]);
    return times(4 * std::bit_width(extent), inputs[0]->count()) + results;
  }
  int64_t operator()(const ConcatAttrs&) const { return results + static_cast<int64_t>(inputs.size()); }
  int64_t operator()(const PadAttrs&) const { return times(2 + static_cast<int64_t>(shape.size()), results); }
  int64_t operator()(const WhereAttrs&) const { return times(4, results); }
  int64_t operator()(const ExpandAttrs&) const { return inputs[0]->count() == 1 ? results : times(2, results); }
  template <class Other>
  int64_t operator()(const Other&) const {
    return times(2, results);
  }
};

}  // namespace

void HostBudget::give(const Tensor& constant) {
  large_.operations = std::min(large_.operations + times(kOperationsPerElement, constant.count()), kEndless);
  large_.bytes = std::min(large_.bytes + times(kBytesPerByte, static_cast<int64_t>(constant.bytes())), kEndless);
}

bool HostBudget::Part::take(const HostCost& cost) {
  if (cost.operations > operations || cost.bytes > bytes) return false;
  operations -= cost.operations;
  bytes -= cost.bytes;
  return true;
}

bool HostBudget::take(const HostCost& cost) {
  const bool is_small = cost.operations <= kSmallOperations && cost.bytes <= kSmallBytes;
  return (is_small && small_.take(cost)) || large_.take(cost);
}

HostCost evaluation_cost(const Attributes& attrs, std::span<const Tensor* const> inputs, DType dtype, const Shape& shape) {
  const int64_t results = element_count(shape);
  if (shares_bytes(attrs, *inputs[0], dtype)) return {1, 0};
  return {std::visit(Operations{inputs, shape, results}, attrs), times(results, static_cast<int64_t>(size_of(dtype)))};
}

}  // namespace actmatch
