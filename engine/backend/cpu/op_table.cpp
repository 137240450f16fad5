// One row per operator: can it run here, how is it built, does it take an activation along.
#include "engine/backend/cpu/lowering.h"
#include "engine/backend/lowering_rules.h"
#include "engine/core/error.h"

namespace actmatch::cpu {

namespace {

void build_nothing(Lowering&) { ACTMATCH_CHECK(false, "batch norm reached the CPU backend"); }

constexpr CpuOp kTable[] = {
    {OpKind::kConv, floats_only, build_conv, true},
    {OpKind::kConvTranspose, conv_transpose_unsupported, build_conv_transpose, true},
    {OpKind::kMatMul, floats_only, build_matmul, true},
    {OpKind::kPool, pool_unsupported, build_pool, false},
    {OpKind::kReduce, no_reason, build_reduce, false},
    {OpKind::kUnary, no_reason, build_unary, false},
    {OpKind::kBinary, no_reason, build_binary, true},
    {OpKind::kSoftmax, floats_only, build_softmax, false},
    {OpKind::kConcat, no_reason, build_concat, false},
    {OpKind::kReshape, no_reason, build_reshape, false},
    {OpKind::kTranspose, no_reason, build_strided, false},
    {OpKind::kSlice, no_reason, build_strided, false},
    {OpKind::kPad, no_reason, build_pad, false},
    {OpKind::kGather, no_reason, build_gather, false},
    {OpKind::kWhere, no_reason, build_where, false},
    {OpKind::kExpand, no_reason, build_strided, false},
    {OpKind::kScaleShift, floats_only, build_scale_shift, true},
    {OpKind::kBatchNorm, batch_norm_unsupported, build_nothing, false},
    {OpKind::kCast, no_reason, build_cast, false},
    {OpKind::kResize, floats_only, build_resize, false},
    {OpKind::kTopK, no_reason, build_top_k, false},
};

}  // namespace

const CpuOp& cpu_op(OpKind kind) {
  const CpuOp& row = kTable[static_cast<size_t>(kind)];
  ACTMATCH_CHECK(row.kind == kind, "the CPU operator table is out of order");
  return row;
}

}  // namespace actmatch::cpu
