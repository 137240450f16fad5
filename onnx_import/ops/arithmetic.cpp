#include <map>

#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

BinaryKind kind_of_operator(const NodeContext& c) {
  static const std::map<std::string, BinaryKind> kKinds{
      {"Add", BinaryKind::kAdd},
      {"Sub", BinaryKind::kSub},
      {"Mul", BinaryKind::kMul},
      {"Div", BinaryKind::kDiv},
      {"Equal", BinaryKind::kEqual},
      {"Less", BinaryKind::kLess},
      {"LessOrEqual", BinaryKind::kLessOrEqual},
      {"Greater", BinaryKind::kGreater},
      {"GreaterOrEqual", BinaryKind::kGreaterOrEqual},
      {"And", BinaryKind::kAnd},
      {"Or", BinaryKind::kOr},
      {"Pow", BinaryKind::kPow},
  };
  return kKinds.at(c.op());
}

}  // namespace

// Operators of two or more inputs that the graph has as they are, with NumPy broadcasting.
void lower_binary(NodeContext& c) { c.result(BinaryAttrs{kind_of_operator(c)}, {c.input(0), c.input(1)}); }

// Up to opset 6 the second input was broadcast only where an attribute said so, with its first axis at a given one of the first input.
void lower_binary_1(NodeContext& c) {
  const ValueId a = c.input(0);
  ValueId b = c.input(1);
  if (c.attributes.flag("broadcast", false)) {
    Shape shape = c.shape(b);
    if (c.attributes.has("axis")) {  // otherwise the last axes meet
      const int64_t behind = c.rank(a) - normalise_axis(c.attributes.integer("axis", 0), c.rank(a)) - c.rank(b);
      if (behind < 0) throw Unsupported("its operand " + to_string(shape) + " does not fit " + to_string(c.shape(a)) + " at that axis");
      shape.resize(shape.size() + static_cast<size_t>(behind), 1);
    }
    b = c.reshape(b, std::move(shape));
  } else if (c.shape(a) != c.shape(b)) {
    throw Unsupported("its operands " + to_string(c.shape(a)) + " and " + to_string(c.shape(b)) + " differ, and it does not broadcast");
  }
  c.result(BinaryAttrs{kind_of_operator(c)}, {a, b});
}

// The exponent may have another type than the base, which is that of the result.
void lower_pow(NodeContext& c) {
  const ValueId base = c.input(0), exponent = c.input(1);
  if (c.dtype(base) == DType::kI64 && c.dtype(exponent) == DType::kF32)
    return c.alias(c.cast(c.step(BinaryAttrs{BinaryKind::kPow}, {c.cast(base, DType::kF32), exponent}), DType::kI64));
  c.result(BinaryAttrs{BinaryKind::kPow}, {base, c.cast(exponent, c.dtype(base))});
}

void lower_variadic(NodeContext& c) {
  static const std::map<std::string, BinaryKind> kKinds{{"Sum", BinaryKind::kAdd}, {"Min", BinaryKind::kMin}, {"Max", BinaryKind::kMax}};
  const BinaryAttrs attrs{kKinds.at(c.op())};
  const std::vector<ValueId> inputs = c.inputs();
  if (inputs.size() == 1) return c.alias(inputs[0]);
  ValueId all = inputs[0];
  for (size_t i = 1; i + 1 < inputs.size(); ++i) all = c.step(attrs, {all, inputs[i]});
  c.result(attrs, {all, inputs.back()});
}

void lower_mean(NodeContext& c) {
  const std::vector<ValueId> inputs = c.inputs();
  ValueId sum = inputs[0];
  for (size_t i = 1; i < inputs.size(); ++i) sum = c.step(BinaryAttrs{BinaryKind::kAdd}, {sum, inputs[i]});
  c.result(BinaryAttrs{BinaryKind::kDiv}, {sum, c.scalar(static_cast<float>(inputs.size()))});
}

}  // namespace actmatch::onnx_import
