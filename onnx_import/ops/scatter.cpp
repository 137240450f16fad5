// Scatter operators at constant positions, as gathers: every element of the result names the update that lands on it, or the input where
// none does. Where several updates land on one element there are as many rounds.
#include <algorithm>
#include <limits>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

// `x`: rows x inner; update number i (of updates: count x inner) lands on row rows[i].
ValueId scatter_rows(NodeContext& c, ValueId x, ValueId updates, const std::vector<int64_t>& rows, const std::string& reduction) {
  const Shape shape = c.shape(x);
  const auto count = static_cast<int64_t>(rows.size());
  if (reduction != "none" && reduction != "add" && reduction != "mul" && reduction != "max" && reduction != "min")
    throw Unsupported("the reduction '" + reduction + "' is not defined");
  if (reduction == "none") {  // the last one stays
    std::vector<int64_t> from = axes_from(0, shape[0]);
    for (int64_t i = 0; i < count; ++i) from[static_cast<size_t>(rows[static_cast<size_t>(i)])] = shape[0] + i;
    return gather(c, concat(c, {x, updates}, 0), 0, c.vector(from));
  }
  // How many updates have landed where this one does before it.
  std::vector<int32_t> landed(static_cast<size_t>(shape[0]), 0), before;
  constexpr int32_t kMostRounds = 64;
  int32_t rounds = 0;
  for (int64_t row : rows) {
    before.push_back(landed[static_cast<size_t>(row)]++);
    rounds = std::max(rounds, before.back() + 1);
  }
  if (rounds > kMostRounds) throw Unsupported("more than " + std::to_string(kMostRounds) + " updates land on one element");
  const bool integers = c.dtype(x) == DType::kI64;
  const BinaryKind kind = reduction == "add"   ? BinaryKind::kAdd
                          : reduction == "mul" ? BinaryKind::kMul
                          : reduction == "max" ? BinaryKind::kMax
                                               : BinaryKind::kMin;
  if (c.dtype(x) == DType::kBool) throw Unsupported("booleans are not combined");
  // What changes nothing, where nothing lands.
  ValueId neutral = scalar_like(c, x, reduction == "mul" ? 1 : 0);
  if (reduction == "max" || reduction == "min") {
    const bool low = reduction == "max";
    neutral = integers ? c.constant(Tensor::scalar(low ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max()))
                       : c.scalar(low ? -std::numeric_limits<float>::infinity() : std::numeric_limits<float>::infinity());
  }
  const ValueId source = concat(c, {updates, expand(c, c.reshape(neutral, {1, 1}), {1, shape[1]})}, 0);
  for (int32_t round = 0; round < rounds; ++round) {
    std::vector<int64_t> from(static_cast<size_t>(shape[0]), count);
    for (int64_t i = 0; i < count; ++i)
      if (before[static_cast<size_t>(i)] == round) from[static_cast<size_t>(rows[static_cast<size_t>(i)])] = i;
    x = binary(c, kind, x, gather(c, source, 0, c.vector(from)));
  }
  return x;
}

int64_t checked(int64_t index, int64_t extent) {
  if (index < -extent || index >= extent)
    throw Unsupported("the index " + std::to_string(index) + " lies outside an axis of " + std::to_string(extent));
  return index < 0 ? index + extent : index;
}

const Tensor& indices_of(const NodeContext& c) {
  const Tensor& indices = c.need_constant(1, "the list of positions");
  if (indices.dtype() != DType::kI64) throw Unsupported("its positions must be integers");
  return indices;
}

void lower_elements(NodeContext& c, const std::string& reduction) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  const Tensor& indices = indices_of(c);
  const Shape& picked = indices.shape();
  const auto axis = static_cast<size_t>(normalise_axis(c.attributes.integer("axis", 0), c.rank(x)));
  if (c.shape(c.input(2)) != picked || picked.size() != shape.size())
    throw Unsupported("positions of shape " + to_string(picked) + " do not fit the input " + to_string(shape));
  const int64_t total = bounded_count(shape);
  const std::vector<int64_t> strides = row_major_strides(shape), own = row_major_strides(picked);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < indices.count(); ++i) {
    int64_t row = 0;
    for (size_t k = 0; k < shape.size(); ++k) {
      const int64_t at = k == axis ? checked(indices.data<int64_t>()[i], shape[k]) : checked(i / own[k] % picked[k], shape[k]);
      row += at * strides[k];
    }
    rows.push_back(row);
  }
  if (rows.empty()) return c.alias(x);
  const ValueId y = scatter_rows(c, c.reshape(x, {total, 1}), c.reshape(c.input(2), {indices.count(), 1}), rows, reduction);
  c.result(ReshapeAttrs{shape}, {y});
}

void lower_nd(NodeContext& c, const std::string& reduction) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  const Tensor& indices = indices_of(c);
  const Shape& picked = indices.shape();
  if (picked.empty() || picked.back() > c.rank(x))
    throw Unsupported("positions of shape " + to_string(picked) + " do not fit the input " + to_string(shape));
  const auto coordinates = static_cast<size_t>(picked.back());
  int64_t outer = 1, inner = 1;
  for (size_t i = 0; i < shape.size(); ++i) (i < coordinates ? outer : inner) *= shape[i];
  const std::vector<int64_t> strides = row_major_strides(Shape(shape.begin(), shape.begin() + picked.back()));
  const int64_t count = bounded_count(Shape(picked.begin(), picked.end() - 1));
  bounded_count({outer, inner});
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < count; ++i) {
    int64_t row = 0;
    for (size_t k = 0; k < coordinates; ++k)
      row += checked(indices.data<int64_t>()[i * picked.back() + static_cast<int64_t>(k)], shape[k]) * strides[k];
    rows.push_back(row);
  }
  if (rows.empty() || outer * inner == 0) return c.alias(x);
  Shape expected(picked.begin(), picked.end() - 1);
  expected.insert(expected.end(), shape.begin() + picked.back(), shape.end());
  if (c.shape(c.input(2)) != expected)
    throw Unsupported("updates of shape " + to_string(c.shape(c.input(2))) + " do not fit positions of shape " + to_string(picked));
  const ValueId y = scatter_rows(c, c.reshape(x, {outer, inner}), c.reshape(c.input(2), {count, inner}), rows, reduction);
  c.result(ReshapeAttrs{shape}, {y});
}

}  // namespace

void lower_scatter_elements_9(NodeContext& c) { lower_elements(c, "none"); }
void lower_scatter_elements_16(NodeContext& c) { lower_elements(c, c.attributes.text("reduction", "none")); }
void lower_scatter_nd_11(NodeContext& c) { lower_nd(c, "none"); }
void lower_scatter_nd_16(NodeContext& c) { lower_nd(c, c.attributes.text("reduction", "none")); }

}  // namespace actmatch::onnx_import
