// The op table. A new operator is one row here, its rules in the files that op_rules.h lists, and a row in each backend.
#include "engine/graph/op_table.h"

#include <array>
#include <initializer_list>
#include <limits>

#include "engine/graph/op_rules.h"

namespace actmatch {
namespace {

const Shape& input_shape(const Graph& graph, const Node& node, size_t i) { return graph.value(node.inputs[i]).shape; }
int64_t output_count(const Graph& graph, const Node& node) { return element_count(graph.value(node.output).shape); }

// Counts stay meaningful for hostile shapes: they stop at the largest number instead of wrapping around.
int64_t product(std::initializer_list<int64_t> factors) {
  int64_t result = 1;
  for (int64_t f : factors)
    if (__builtin_mul_overflow(result, f, &result)) return std::numeric_limits<int64_t>::max();
  return result;
}

int64_t multiply_adds_none(const Graph&, const Node&) { return 0; }
int64_t multiply_adds_scale(const Graph& graph, const Node& node) { return output_count(graph, node); }
int64_t multiply_adds_conv(const Graph& graph, const Node& node) {
  const Shape w = instance_shape(input_shape(graph, node, 1));
  return product({output_count(graph, node), w[1], w[2], w[3]});
}
int64_t multiply_adds_conv_transpose(const Graph& graph, const Node& node) {
  const Shape w = instance_shape(input_shape(graph, node, 1));
  return product({element_count(input_shape(graph, node, 0)), w[1], w[2], w[3]});
}
int64_t multiply_adds_mat_mul(const Graph& graph, const Node& node) {
  const Shape& a = input_shape(graph, node, 0);
  return product({output_count(graph, node), a[a.size() - (std::get<MatMulAttrs>(node.attrs).transpose_a ? 2 : 1)]});
}

constexpr int kAny = -1;

constexpr OpInfo row(OpKind kind, const char* name, int min_inputs, int max_inputs, decltype(OpInfo::infer) infer,
                     decltype(OpInfo::evaluate) evaluate, decltype(OpInfo::multiply_adds) multiply_adds = multiply_adds_none) {
  return {kind, name, min_inputs, max_inputs, infer, differentiable_inputs, backward_needs, evaluate, multiply_adds};
}

constexpr std::array kTable{
    row(OpKind::kConv, "Conv", 2, 3, infer_conv, nullptr, multiply_adds_conv),
    row(OpKind::kConvTranspose, "ConvTranspose", 2, 3, infer_conv_transpose, nullptr, multiply_adds_conv_transpose),
    row(OpKind::kMatMul, "MatMul", 2, 3, infer_mat_mul, evaluate_mat_mul, multiply_adds_mat_mul),
    row(OpKind::kPool, "Pool", 1, 1, infer_pool, nullptr),
    row(OpKind::kReduce, "Reduce", 1, 1, infer_reduce, evaluate_reduce),
    row(OpKind::kUnary, "Unary", 1, 1, infer_unary, evaluate_unary),
    row(OpKind::kBinary, "Binary", 2, 2, infer_binary, evaluate_binary),
    row(OpKind::kSoftmax, "Softmax", 1, 1, infer_softmax, evaluate_softmax),
    row(OpKind::kConcat, "Concat", 1, kAny, infer_concat, evaluate_concat),
    row(OpKind::kReshape, "Reshape", 1, 1, infer_reshape, evaluate_reshape),
    row(OpKind::kTranspose, "Transpose", 1, 1, infer_transpose, evaluate_transpose),
    row(OpKind::kSlice, "Slice", 1, 1, infer_slice, evaluate_slice),
    row(OpKind::kPad, "Pad", 1, 1, infer_pad, evaluate_pad),
    row(OpKind::kGather, "Gather", 2, 2, infer_gather, evaluate_gather),
    row(OpKind::kWhere, "Where", 3, 3, infer_where, evaluate_where),
    row(OpKind::kExpand, "Expand", 1, 1, infer_expand, evaluate_expand),
    row(OpKind::kScaleShift, "ScaleShift", 3, 3, infer_scale_shift, nullptr, multiply_adds_scale),
    row(OpKind::kBatchNorm, "BatchNorm", 5, 5, infer_batch_norm, nullptr, multiply_adds_scale),
    row(OpKind::kCast, "Cast", 1, 1, infer_cast, evaluate_cast),
    row(OpKind::kResize, "Resize", 1, 1, infer_resize, nullptr),
    row(OpKind::kTopK, "TopK", 1, 1, infer_top_k, evaluate_top_k),
};
static_assert(kTable.size() == std::variant_size_v<Attributes>, "one row per operator, in the order of OpKind");

}  // namespace

const OpInfo& op_info(OpKind kind) { return kTable.at(static_cast<size_t>(kind)); }
std::span<const OpInfo> all_ops() { return kTable; }

const char* name_of(OpKind kind) { return op_info(kind).name; }

const char* name_of(UnaryKind kind) {
  switch (kind) {
    case UnaryKind::kRelu: return "Relu";
    case UnaryKind::kLeakyRelu: return "LeakyRelu";
    case UnaryKind::kClip: return "Clip";
    case UnaryKind::kSigmoid: return "Sigmoid";
    case UnaryKind::kTanh: return "Tanh";
    case UnaryKind::kExp: return "Exp";
    case UnaryKind::kLog: return "Log";
    case UnaryKind::kSqrt: return "Sqrt";
    case UnaryKind::kReciprocal: return "Reciprocal";
    case UnaryKind::kNeg: return "Neg";
    case UnaryKind::kAbs: return "Abs";
    case UnaryKind::kErf: return "Erf";
    case UnaryKind::kHardSigmoid: return "HardSigmoid";
    case UnaryKind::kHardSwish: return "HardSwish";
    case UnaryKind::kElu: return "Elu";
    case UnaryKind::kSoftplus: return "Softplus";
    case UnaryKind::kFloor: return "Floor";
    case UnaryKind::kCeil: return "Ceil";
    case UnaryKind::kRound: return "Round";
    case UnaryKind::kSin: return "Sin";
    case UnaryKind::kCos: return "Cos";
    case UnaryKind::kTan: return "Tan";
    case UnaryKind::kAsin: return "Asin";
    case UnaryKind::kAcos: return "Acos";
    case UnaryKind::kAtan: return "Atan";
    case UnaryKind::kSinh: return "Sinh";
    case UnaryKind::kCosh: return "Cosh";
    case UnaryKind::kAsinh: return "Asinh";
    case UnaryKind::kAcosh: return "Acosh";
    case UnaryKind::kAtanh: return "Atanh";
    case UnaryKind::kGelu: return "Gelu";
    case UnaryKind::kGeluTanh: return "GeluTanh";
    case UnaryKind::kNot: return "Not";
    case UnaryKind::kIdentity: return "Identity";
  }
  return "?";
}

const char* name_of(BinaryKind kind) {
  switch (kind) {
    case BinaryKind::kAdd: return "Add";
    case BinaryKind::kSub: return "Sub";
    case BinaryKind::kMul: return "Mul";
    case BinaryKind::kDiv: return "Div";
    case BinaryKind::kPow: return "Pow";
    case BinaryKind::kMin: return "Min";
    case BinaryKind::kMax: return "Max";
    case BinaryKind::kEqual: return "Equal";
    case BinaryKind::kLess: return "Less";
    case BinaryKind::kLessOrEqual: return "LessOrEqual";
    case BinaryKind::kGreater: return "Greater";
    case BinaryKind::kGreaterOrEqual: return "GreaterOrEqual";
    case BinaryKind::kAnd: return "And";
    case BinaryKind::kOr: return "Or";
  }
  return "?";
}

}  // namespace actmatch
