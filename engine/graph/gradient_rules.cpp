// For each operator: with respect to which inputs it has a gradient, and what computing that gradient reads. What is read has to be
// kept from the forward pass, so each rule picks the cheaper of input and output where there is a choice: the output of an activation
// function can overwrite its input, and is often kept for the next operator anyway.
#include "engine/graph/op_rules.h"

namespace actmatch {
namespace {

bool reads_output(UnaryKind kind) {
  switch (kind) {
    case UnaryKind::kRelu:
    case UnaryKind::kSigmoid:
    case UnaryKind::kTanh:
    case UnaryKind::kExp:
    case UnaryKind::kSqrt:
    case UnaryKind::kReciprocal: return true;
    default: return false;
  }
}

// The piecewise linear ones (clip, leaky relu with a slope of any sign, ...) read the input, since their output does not tell on which
// piece it was made.
bool reads_input(UnaryKind kind) { return !reads_output(kind) && kind != UnaryKind::kNeg && kind != UnaryKind::kIdentity; }

}  // namespace

uint32_t differentiable_inputs(const Attributes& attrs) {
  switch (kind_of(attrs)) {
    case OpKind::kConv:
    case OpKind::kConvTranspose:
    case OpKind::kMatMul: return 0b111;
    case OpKind::kUnary:
      switch (std::get<UnaryAttrs>(attrs).kind) {
        case UnaryKind::kFloor:
        case UnaryKind::kCeil:
        case UnaryKind::kRound:
        case UnaryKind::kNot: return 0;
        default: return 0b1;
      }
    case OpKind::kBinary: return std::get<BinaryAttrs>(attrs).kind <= BinaryKind::kMax ? 0b11 : 0;
    case OpKind::kWhere: return 0b110;
    case OpKind::kConcat: return ~uint32_t{0};
    case OpKind::kCast: return std::get<CastAttrs>(attrs).to == DType::kF32 ? 0b1 : 0;
    case OpKind::kPool:
    case OpKind::kReduce:
    case OpKind::kSoftmax:
    case OpKind::kReshape:
    case OpKind::kTranspose:
    case OpKind::kSlice:
    case OpKind::kPad:
    case OpKind::kGather:
    case OpKind::kExpand:
    case OpKind::kScaleShift:  // its channel vectors are frozen by definition, as are the statistics of kBatchNorm
    case OpKind::kBatchNorm:
    case OpKind::kResize: return 0b1;
    case OpKind::kTopK: return 0;
  }
  return 0;
}

BackwardNeeds backward_needs(const Attributes& attrs, const std::vector<bool>& wanted) {
  BackwardNeeds needs{std::vector<bool>(wanted.size()), false};
  const auto wants = [&](size_t i) { return i < wanted.size() && wanted[i]; };
  bool any = false;
  for (bool w : wanted) any = any || w;
  if (!any) return needs;
  switch (kind_of(attrs)) {
    case OpKind::kConv:
    case OpKind::kConvTranspose:
    case OpKind::kMatMul:  // each product needs the other factor, a bias nothing
      needs.inputs[1] = wants(0);
      needs.inputs[0] = wants(1);
      break;
    case OpKind::kPool:
      // Where the maximum sat; a backend that records the position itself need not read them.
      needs.inputs[0] = needs.output = std::get<PoolAttrs>(attrs).mode == PoolMode::kMax;
      break;
    case OpKind::kReduce: {
      const ReduceKind kind = std::get<ReduceAttrs>(attrs).kind;
      needs.inputs[0] = needs.output = kind == ReduceKind::kMax || kind == ReduceKind::kMin;
      break;
    }
    case OpKind::kUnary: {
      const UnaryKind kind = std::get<UnaryAttrs>(attrs).kind;
      needs.inputs[0] = reads_input(kind);
      needs.output = reads_output(kind);
      break;
    }
    case OpKind::kBinary:
      switch (std::get<BinaryAttrs>(attrs).kind) {
        case BinaryKind::kMul:
          needs.inputs[1] = wants(0);
          needs.inputs[0] = wants(1);
          break;
        case BinaryKind::kDiv:  // da = dy/b, db = -dy a/b^2
          needs.inputs[1] = true;
          needs.inputs[0] = wants(1);
          break;
        case BinaryKind::kPow:
        case BinaryKind::kMin:
        case BinaryKind::kMax: needs.inputs[0] = needs.inputs[1] = true; break;
        default: break;
      }
      break;
    case OpKind::kSoftmax: needs.output = true; break;
    case OpKind::kGather: needs.inputs[1] = true; break;
    case OpKind::kWhere: needs.inputs[0] = true; break;
    case OpKind::kScaleShift: needs.inputs[1] = true; break;
    case OpKind::kBatchNorm: needs.inputs[1] = needs.inputs[4] = true; break;
    case OpKind::kConcat:
    case OpKind::kReshape:
    case OpKind::kTranspose:
    case OpKind::kSlice:
    case OpKind::kPad:
    case OpKind::kExpand:
    case OpKind::kCast:
    case OpKind::kTopK:
    case OpKind::kResize: break;  // the shapes are enough
  }
  return needs;
}

}  // namespace actmatch
