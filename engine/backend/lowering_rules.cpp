#include "engine/backend/lowering_rules.h"

#include "engine/core/error.h"

namespace actmatch {

std::string no_reason(const Graph&, const Node&) { return {}; }

std::string floats_only(const Graph& graph, const Node& node) {
  for (ValueId input : node.inputs)
    if (input != kNoValue && graph.value(input).dtype != DType::kF32) return "integers that depend on the input";
  return {};
}

std::string gather_unsupported(const Graph& graph, const Node& node) {
  if (!graph.is_constant(node.inputs[1])) return "gathering by indices that depend on the input";
  if (graph.value(node.inputs[0]).dtype != DType::kF32) return "gathering integers that depend on the input";
  return {};
}

std::string unary_unsupported(const Graph& graph, const Node& node) {
  const UnaryKind kind = std::get<UnaryAttrs>(node.attrs).kind;
  if (graph.value(node.inputs[0]).dtype == DType::kI64 && kind != UnaryKind::kIdentity)
    return "arithmetic on integers that depend on the input";
  return {};
}

std::string binary_unsupported(const Graph& graph, const Node& node) {
  const DType a = graph.value(node.inputs[0]).dtype;
  if (a == DType::kI64) return "arithmetic on integers that depend on the input";
  const BinaryKind kind = std::get<BinaryAttrs>(node.attrs).kind;
  if (a == DType::kBool && kind != BinaryKind::kAnd && kind != BinaryKind::kOr && kind != BinaryKind::kEqual)
    return "arithmetic on booleans that depend on the input";
  return {};
}

std::string order_unsupported(const Graph&, const Node&) { return "positions of the largest elements (TopK, ArgMax)"; }

std::string batch_norm_unsupported(const Graph&, const Node&) { return "batch norm that the passes did not fold"; }

int64_t operand_matrix(const Shape& batch, const Shape& x, int64_t i) {
  int64_t index = 0, stride = 1;
  for (size_t k = 0; k < batch.size(); ++k) {  // from the last batch axis
    const int64_t extent = batch[batch.size() - 1 - k];
    const int64_t own = k + 2 < x.size() ? x[x.size() - 3 - k] : 1;
    if (own != 1) index += (i % extent) * stride;
    stride *= own;
    i /= extent;
  }
  return index;
}

GatheredRuns gathered_runs(const Node& node, const Shape& x, const Tensor& indices) {
  const auto axis = static_cast<size_t>(std::get<GatherAttrs>(node.attrs).axis);
  GatheredRuns runs;
  int64_t outer = 1;
  const int64_t extent = x[axis];
  for (size_t i = 0; i < axis; ++i) outer *= x[i];
  for (size_t i = axis + 1; i < x.size(); ++i) runs.inner *= x[i];
  runs.source.reserve(static_cast<size_t>(outer * indices.count()));
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t index : indices.view<int64_t>()) {
      const int64_t row = index < 0 ? index + extent : index;
      if (row < 0 || row >= extent)
        throw Error(ErrorCode::kInvalidArgument, "node '" + node.name + "' (Gather): index " + std::to_string(index) +
                                                     " lies outside the axis of " + std::to_string(extent) + "; the model file is damaged");
      runs.source.push_back(o * extent + row);
    }
  return runs;
}

int64_t padded_source(int64_t i, int64_t extent, PadMode mode) {
  if (i >= 0 && i < extent) return i;
  switch (mode) {
    case PadMode::kConstant: return -1;
    case PadMode::kEdge: return i < 0 ? 0 : extent - 1;
    case PadMode::kReflect: return i < 0 ? -i : 2 * (extent - 1) - i;
  }
  return -1;
}

}  // namespace actmatch
