// Shape rules of the convolutions and the matrix product.
#include "engine/graph/op_rules.h"

namespace actmatch {
namespace {

void check_window(const std::array<int64_t, 2>& strides, const std::array<int64_t, 4>& pads, const std::array<int64_t, 2>& dilations) {
  for (int64_t s : strides) require_in_range(s, 1, kLargestAttribute, "stride");
  for (int64_t p : pads) require_in_range(p, 0, kLargestAttribute, "pad");
  for (int64_t d : dilations) require_in_range(d, 1, kLargestAttribute, "dilation");
}

std::string both(const Shape& x, const Shape& w) { return "input " + to_string(x) + ", weight " + to_string(w); }

// The weights of one part of the batch.
Shape check_conv_operands(Inputs inputs) {
  require_dtype(*inputs[0], DType::kF32, "the input");
  require_rank(*inputs[0], 4, "the input");
  require_dtype(*inputs[1], DType::kF32, "the weight");
  const Shape &x = inputs[0]->shape, &w = inputs[1]->shape;
  if (!has_instances(w)) require_rank(*inputs[1], 4, "the weight");
  const Shape one = instance_shape(w);
  for (size_t i = 2; i < 4; ++i) require_in_range(one[i], 1, kLargestAttribute, "kernel extent");
  require_in_range(instances_of(w), 1, kLargestAttribute, "instances");
  if (x[0] % instances_of(w) != 0)
    misfit("the batch of " + std::to_string(x[0]) + " does not divide into the weight's " + std::to_string(instances_of(w)) +
           " instances (" + both(x, w) + ")");
  return one;
}

void check_bias(Inputs inputs, int64_t channels) {
  if (inputs.size() < 3 || !inputs[2]) return;
  require_dtype(*inputs[2], DType::kF32, "the bias");
  const Shape& w = inputs[1]->shape;
  if (inputs[2]->shape != (has_instances(w) ? Shape{w[0], channels} : Shape{channels}))
    misfit("the bias has shape " + to_string(inputs[2]->shape) + " but the weight " + to_string(w) + " gives " + std::to_string(channels) +
           " channels");
}

}  // namespace

// y[h] = floor((H + pads - dilation (R - 1) - 1) / stride) + 1
InferredValue infer_conv(const Attributes& attrs, Inputs inputs) {
  const auto& a = std::get<ConvAttrs>(attrs);
  check_window(a.strides, a.pads, a.dilations);
  require_in_range(a.groups, 1, kLargestAttribute, "groups");
  const Shape w = check_conv_operands(inputs);
  const Shape& x = inputs[0]->shape;
  if (x[1] % a.groups != 0 || x[1] / a.groups != w[1])
    misfit("channels do not fit: " + both(x, w) + ", " + std::to_string(a.groups) + " groups; the weight needs " + std::to_string(w[1]) +
           " input channels a group");
  if (w[0] % a.groups != 0)
    misfit("the weight " + to_string(w) + " has " + std::to_string(w[0]) + " output channels, which " + std::to_string(a.groups) +
           " groups do not divide");
  check_bias(inputs, w[0]);
  Shape y{x[0], w[0], 0, 0};
  for (size_t i = 0; i < 2; ++i) {
    const int64_t padded = x[2 + i] + a.pads[i] + a.pads[2 + i];
    const int64_t window = a.dilations[i] * (w[2 + i] - 1) + 1;
    if (padded < window)
      misfit("the kernel spans " + std::to_string(window) + " positions but the padded input only has " + std::to_string(padded) + " (" +
             both(x, w) + ")");
    y[2 + i] = (padded - window) / a.strides[i] + 1;
  }
  return {DType::kF32, y};
}

// y[h] = stride (H - 1) + dilation (R - 1) + 1 + output_padding - pads
InferredValue infer_conv_transpose(const Attributes& attrs, Inputs inputs) {
  const auto& a = std::get<ConvTransposeAttrs>(attrs);
  check_window(a.strides, a.pads, a.dilations);
  require_in_range(a.groups, 1, kLargestAttribute, "groups");
  const Shape w = check_conv_operands(inputs);
  const Shape& x = inputs[0]->shape;
  if (x[1] != w[0] || x[1] % a.groups != 0)
    misfit("channels do not fit: " + both(x, w) + ", " + std::to_string(a.groups) + " groups; the weight needs " + std::to_string(w[0]) +
           " input channels");
  require_in_range(w[1], 0, kLargestAttribute, "output channels a group");
  check_bias(inputs, w[1] * a.groups);
  Shape y{x[0], w[1] * a.groups, 0, 0};
  for (size_t i = 0; i < 2; ++i) {
    require_in_range(a.output_padding[i], 0, std::max(a.strides[i], a.dilations[i]) - 1, "output padding");
    require_in_range(x[2 + i], 1, kLargestAttribute, "input extent");
    y[2 + i] = a.strides[i] * (x[2 + i] - 1) + a.dilations[i] * (w[2 + i] - 1) + 1 + a.output_padding[i] - a.pads[i] - a.pads[2 + i];
    if (y[2 + i] < 1) misfit("the pads leave nothing of the output (" + both(x, w) + ")");
  }
  return {DType::kF32, y};
}

InferredValue infer_mat_mul(const Attributes& attrs, Inputs inputs) {
  const auto& attr = std::get<MatMulAttrs>(attrs);
  for (size_t i = 0; i < 2; ++i) {
    require_dtype(*inputs[i], DType::kF32, i ? "the right operand" : "the left operand");
    if (inputs[i]->shape.size() < 2)
      misfit("a matrix product needs operands of at least 2 dimensions, got " + to_string(inputs[0]->shape) + " and " +
             to_string(inputs[1]->shape));
  }
  Shape a = inputs[0]->shape, b = inputs[1]->shape;
  if (attr.transpose_a) std::swap(a[a.size() - 1], a[a.size() - 2]);
  if (attr.transpose_b) std::swap(b[b.size() - 1], b[b.size() - 2]);
  const int64_t m = a[a.size() - 2], k = a.back(), n = b.back();
  if (b[b.size() - 2] != k)
    misfit("the inner extents of the matrices differ: " + to_string(inputs[0]->shape) + (attr.transpose_a ? " (transposed)" : "") + " by " +
           to_string(inputs[1]->shape) + (attr.transpose_b ? " (transposed)" : ""));
  a.resize(a.size() - 2);
  b.resize(b.size() - 2);
  Shape y = broadcast_shapes(a, b);
  y.push_back(m);
  y.push_back(n);
  if (inputs.size() > 2 && inputs[2]) {
    require_dtype(*inputs[2], DType::kF32, "the bias");
    if (inputs[2]->shape != Shape{n})
      misfit("the bias has shape " + to_string(inputs[2]->shape) + " but the product " + to_string(y) + " needs " + std::to_string(n));
  }
  return {DType::kF32, y};
}

}  // namespace actmatch
