// One row per operator: can it run here, how is it built, does it take a clip along.
#include "engine/backend/cuda/cuda_lowering.h"
#include "engine/backend/lowering_rules.h"
#include "engine/core/error.h"

namespace actmatch::cuda {

namespace {

void build_nothing(Lowering&) { ACTMATCH_CHECK(false, "an operator without CUDA code reached the CUDA backend"); }

constexpr CudaOp kTable[] = {
    {OpKind::kConv, floats_only, build_conv, true},
    {OpKind::kConvTranspose, floats_only, build_conv_transpose, true},
    {OpKind::kMatMul, floats_only, build_matmul, true},
    {OpKind::kPool, floats_only, build_pool, false},
    {OpKind::kReduce, floats_only, build_reduce, false},
    {OpKind::kUnary, unary_unsupported, build_unary, false},
    {OpKind::kBinary, binary_unsupported, build_binary, true},
    {OpKind::kSoftmax, floats_only, build_softmax, false},
    {OpKind::kConcat, no_reason, build_concat, false},
    {OpKind::kReshape, no_reason, build_reshape, false},
    {OpKind::kTranspose, no_reason, build_strided, false},
    {OpKind::kSlice, no_reason, build_strided, false},
    {OpKind::kPad, floats_only, build_pad, false},
    {OpKind::kGather, gather_unsupported, build_gather, false},
    {OpKind::kWhere, no_reason, build_where, false},
    {OpKind::kExpand, no_reason, build_strided, false},
    {OpKind::kScaleShift, floats_only, build_scale_shift, true},
    {OpKind::kBatchNorm, batch_norm_unsupported, build_nothing, false},
    {OpKind::kCast, no_reason, build_cast, false},
    {OpKind::kResize, floats_only, build_resize, false},
    {OpKind::kTopK, order_unsupported, build_nothing, false},
};

}  // namespace

const CudaOp& cuda_op(OpKind kind) {
  const CudaOp& row = kTable[static_cast<size_t>(kind)];
  ACTMATCH_CHECK(row.kind == kind, "the CUDA operator table is out of order");
  return row;
}

std::string why_unsupported(const Graph& graph, const Node& node) {
  size_t rank = graph.value(node.output).shape.size();
  for (ValueId input : node.inputs)
    if (input != kNoValue) rank = std::max(rank, graph.value(input).shape.size());
  if (rank > static_cast<size_t>(kernels::cuda::kMaxRank)) return "more than " + std::to_string(kernels::cuda::kMaxRank) + " axes";
  return cuda_op(node.op()).why_unsupported(graph, node);
}

}  // namespace actmatch::cuda
