// Shape rules of operators that work element by element, and the checks all shape rules share.
#include "engine/graph/op_rules.h"

namespace actmatch {

void require_dtype(const Value& value, DType dtype, const char* role) {
  if (value.dtype != dtype)
    misfit(std::string(role) + " '" + value.name + "' must be " + name_of(dtype) + ", not " + name_of(value.dtype) + " (shape " +
           to_string(value.shape) + ")");
}

void require_rank(const Value& value, size_t rank, const char* role) {
  if (value.shape.size() != rank)
    misfit(std::string(role) + " '" + value.name + "' must have " + std::to_string(rank) + " dimensions, its shape is " +
           to_string(value.shape));
}

void require_in_range(int64_t attribute, int64_t low, int64_t high, const char* role) {
  if (attribute < low || attribute > high)
    misfit(std::string(role) + " " + std::to_string(attribute) + " lies outside [" + std::to_string(low) + ", " + std::to_string(high) +
           "]");
}

namespace {

void require_same_dtype(const Value& a, const Value& b) {
  if (a.dtype != b.dtype)
    misfit("operands '" + a.name + "' (" + name_of(a.dtype) + " " + to_string(a.shape) + ") and '" + b.name + "' (" + name_of(b.dtype) +
           " " + to_string(b.shape) + ") must have the same type");
}

void check_channel_vectors(Inputs inputs) {
  const Value& x = *inputs[0];
  require_dtype(x, DType::kF32, "the input");
  if (x.shape.size() < 2) misfit("the input '" + x.name + "' of shape " + to_string(x.shape) + " has no channel axis");
  for (size_t i = 1; i < inputs.size(); ++i) {
    require_dtype(*inputs[i], DType::kF32, "the channel vector");
    if (inputs[i]->shape != Shape{x.shape[1]})
      misfit("the channel vector '" + inputs[i]->name + "' has shape " + to_string(inputs[i]->shape) + " but the input " +
             to_string(x.shape) + " has " + std::to_string(x.shape[1]) + " channels");
  }
}

}  // namespace

InferredValue infer_unary(const Attributes& attrs, Inputs inputs) {
  const Value& x = *inputs[0];
  switch (std::get<UnaryAttrs>(attrs).kind) {
    case UnaryKind::kIdentity: break;
    case UnaryKind::kNot: require_dtype(x, DType::kBool, "the input"); break;
    case UnaryKind::kNeg:
    case UnaryKind::kAbs:
    case UnaryKind::kRelu:
    case UnaryKind::kClip:
      if (x.dtype == DType::kBool) misfit("the input '" + x.name + "' of shape " + to_string(x.shape) + " is bool; cast it first");
      break;
    default: require_dtype(x, DType::kF32, "the input"); break;
  }
  return {x.dtype, x.shape};
}

InferredValue infer_binary(const Attributes& attrs, Inputs inputs) {
  const Value &a = *inputs[0], &b = *inputs[1];
  require_same_dtype(a, b);
  DType out = a.dtype;
  switch (std::get<BinaryAttrs>(attrs).kind) {
    case BinaryKind::kAnd:
    case BinaryKind::kOr: require_dtype(a, DType::kBool, "the operand"); break;
    case BinaryKind::kEqual: out = DType::kBool; break;
    case BinaryKind::kLess:
    case BinaryKind::kLessOrEqual:
    case BinaryKind::kGreater:
    case BinaryKind::kGreaterOrEqual: out = DType::kBool; [[fallthrough]];
    default:
      if (a.dtype == DType::kBool)
        misfit("operands '" + a.name + "' (" + to_string(a.shape) + ") and '" + b.name + "' (" + to_string(b.shape) +
               ") are bool; cast them first");
      break;
  }
  return {out, broadcast_shapes(a.shape, b.shape)};
}

InferredValue infer_softmax(const Attributes& attrs, Inputs inputs) {
  const Value& x = *inputs[0];
  require_dtype(x, DType::kF32, "the input");
  const int64_t axis = std::get<SoftmaxAttrs>(attrs).axis;
  if (axis < 0 || axis >= static_cast<int64_t>(x.shape.size()))
    misfit("axis " + std::to_string(axis) + " lies outside the input of shape " + to_string(x.shape));
  return {x.dtype, x.shape};
}

InferredValue infer_where(const Attributes&, Inputs inputs) {
  require_dtype(*inputs[0], DType::kBool, "the condition");
  require_same_dtype(*inputs[1], *inputs[2]);
  return {inputs[1]->dtype, broadcast_shapes(inputs[0]->shape, broadcast_shapes(inputs[1]->shape, inputs[2]->shape))};
}

InferredValue infer_scale_shift(const Attributes&, Inputs inputs) {
  check_channel_vectors(inputs);
  return {DType::kF32, inputs[0]->shape};
}

InferredValue infer_batch_norm(const Attributes& attrs, Inputs inputs) {
  const float epsilon = std::get<BatchNormAttrs>(attrs).epsilon;
  if (!(epsilon >= 0.0f)) misfit("epsilon " + std::to_string(epsilon) + " must not be negative");
  check_channel_vectors(inputs);
  return {DType::kF32, inputs[0]->shape};
}

InferredValue infer_cast(const Attributes& attrs, Inputs inputs) { return {std::get<CastAttrs>(attrs).to, inputs[0]->shape}; }

}  // namespace actmatch
