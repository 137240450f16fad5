#include <map>

#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
// Operators of one input that the graph has as they are.

void lower_unary(NodeContext& c) {
  static const std::map<std::string, UnaryKind> kKinds{
      {"Relu", UnaryKind::kRelu},
      {"Sigmoid", UnaryKind::kSigmoid},
      {"Tanh", UnaryKind::kTanh},
      {"Exp", UnaryKind::kExp},
      {"Log", UnaryKind::kLog},
      {"Sqrt", UnaryKind::kSqrt},
      {"Neg", UnaryKind::kNeg},
      {"Reciprocal", UnaryKind::kReciprocal},
      {"Abs", UnaryKind::kAbs},
      {"Erf", UnaryKind::kErf},
      {"HardSwish", UnaryKind::kHardSwish},
      {"Softplus", UnaryKind::kSoftplus},
      {"Floor", UnaryKind::kFloor},
      {"Ceil", UnaryKind::kCeil},
      {"Round", UnaryKind::kRound},
      {"Sin", UnaryKind::kSin},
      {"Cos", UnaryKind::kCos},
      {"Tan", UnaryKind::kTan},
      {"Asin", UnaryKind::kAsin},
      {"Acos", UnaryKind::kAcos},
      {"Atan", UnaryKind::kAtan},
      {"Sinh", UnaryKind::kSinh},
      {"Cosh", UnaryKind::kCosh},
      {"Asinh", UnaryKind::kAsinh},
      {"Acosh", UnaryKind::kAcosh},
      {"Atanh", UnaryKind::kAtanh},
      {"Not", UnaryKind::kNot},
  };
  c.result(UnaryAttrs{kKinds.at(c.op())}, {c.input(0)});
}

void lower_leaky_relu(NodeContext& c) { c.result(UnaryAttrs{UnaryKind::kLeakyRelu, c.attributes.number("alpha", 0.01f)}, {c.input(0)}); }

void lower_elu(NodeContext& c) { c.result(UnaryAttrs{UnaryKind::kElu, c.attributes.number("alpha", 1.0f)}, {c.input(0)}); }

void lower_selu(NodeContext& c) {
  const float alpha = c.attributes.number("alpha", 1.67326319217681884765625f),
              gamma = c.attributes.number("gamma", 1.05070102214813232421875f);
  const ValueId elu = c.step(UnaryAttrs{UnaryKind::kElu, alpha}, {c.input(0)});
  c.result(BinaryAttrs{BinaryKind::kMul}, {elu, c.scalar(gamma)});
}

void lower_hard_sigmoid(NodeContext& c) {
  c.result(UnaryAttrs{UnaryKind::kHardSigmoid, c.attributes.number("alpha", 0.2f), c.attributes.number("beta", 0.5f)}, {c.input(0)});
}

void lower_mish(NodeContext& c) {
  const ValueId gate = c.step(UnaryAttrs{UnaryKind::kTanh}, {c.step(UnaryAttrs{UnaryKind::kSoftplus}, {c.input(0)})});
  c.result(BinaryAttrs{BinaryKind::kMul}, {c.input(0), gate});
}

void lower_identity(NodeContext& c) {
  if (c.is_sequence(0)) return c.sequence_result(c.sequence(0));
  c.alias(c.input(0));
}

}  // namespace actmatch::onnx_import
