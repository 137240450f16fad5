#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/quantised.h"

namespace actmatch::onnx_import {
// Operators on quantised values: those of ONNX, and those that ONNX Runtime's quantiser writes (the domain com.microsoft).

namespace {

// A convolution of reals with the attributes of this node, lowered as any Conv is.
ValueId quantised_conv(NodeContext& c, ValueId x, ValueId w, ValueId bias) {
  onnx::GraphProto body;
  onnx::NodeProto& conv = *body.add_node();
  conv.set_op_type("Conv");
  c.attributes.copy_to(conv);
  std::vector<ValueId> inputs{x, w};
  if (bias != kNoValue) inputs.push_back(bias);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string name = "in" + std::to_string(i);
    body.add_input()->set_name(name);
    conv.add_input(name);
  }
  conv.add_output("out");
  body.add_output()->set_name("out");
  return c.body(body, "conv", inputs).at(0);
}

// An integer bias counts in units of scale_a * scale_b.
ValueId scaled_bias(NodeContext& c, size_t bias, size_t scale_a, size_t scale_b) {
  if (!c.has(bias)) return kNoValue;
  if (c.is_float(bias)) return c.input(bias);
  const ValueId unit = c.step(BinaryAttrs{BinaryKind::kMul}, {c.input(scale_a), c.input(scale_b)});
  return c.step(BinaryAttrs{BinaryKind::kMul}, {c.float_input(bias), unit});
}

ValueId product(NodeContext& c, ValueId a, ValueId b) {
  if (c.rank(a) < 2 || c.rank(b) < 2) throw Unsupported("products of vectors are not supported here");
  return c.step(MatMulAttrs{}, {a, b});
}

}  // namespace

// x, scale, zero, w, scale, zero, y scale, y zero, [bias]
void lower_qlinear_conv(NodeContext& c) {
  const ValueId x = dequantised(c, 0, 1, 2), w = dequantised(c, 3, 4, 5, 0);
  quantised_result(c, quantised_conv(c, x, w, scaled_bias(c, 8, 1, 4)), 6, 7);
}

// a, scale, zero, b, scale, zero, y scale, y zero; scales of a by row, of b by column
void lower_qlinear_mat_mul(NodeContext& c) {
  const ValueId a = dequantised(c, 0, 1, 2, -2), b = dequantised(c, 3, 4, 5, -1);
  quantised_result(c, product(c, a, b), 6, 7);
}

// x, w, [x zero], [w zero]
void lower_conv_integer(NodeContext& c) {
  note_quantisation(c);
  c.alias(quantised_conv(c, centred(c, 0, 2, 1), centred(c, 1, 3, 0), kNoValue));
}

// a, b, [a zero], [b zero]
void lower_mat_mul_integer(NodeContext& c) {
  note_quantisation(c);
  c.alias(product(c, centred(c, 0, 2, -2), centred(c, 1, 3, -1)));
}

// a, scale, zero, b, scale, zero, y scale, y zero
void lower_qlinear_binary(NodeContext& c) {
  const BinaryKind kind = c.op() == "QLinearAdd" ? BinaryKind::kAdd : BinaryKind::kMul;
  quantised_result(c, c.step(BinaryAttrs{kind}, {dequantised(c, 0, 1, 2), dequantised(c, 3, 4, 5)}), 6, 7);
}

// x, scale, zero, y scale, y zero
void lower_qlinear_unary(NodeContext& c) {
  const ValueId x = dequantised(c, 0, 1, 2);
  if (c.op() == "QLinearGlobalAveragePool") {
    if (c.attributes.flag("channels_last", false)) throw Unsupported("channels last are not supported; export the model with NCHW");
    if (c.rank(x) < 3) throw Unsupported("its input has the shape " + to_string(c.shape(x)) + " and no spatial axes");
    ReduceAttrs mean{ReduceKind::kMean, {}, true};
    for (int64_t axis = 2; axis < c.rank(x); ++axis) mean.axes.push_back(axis);
    return quantised_result(c, c.step(std::move(mean), {x}), 3, 4);
  }
  const UnaryAttrs attrs = c.op() == "QLinearLeakyRelu" ? UnaryAttrs{UnaryKind::kLeakyRelu, c.attributes.number("alpha", 0.01f)}
                                                        : UnaryAttrs{UnaryKind::kSigmoid};
  quantised_result(c, c.step(attrs, {x}), 3, 4);
}

// y scale, y zero, then x, scale, zero for each part
void lower_qlinear_concat(NodeContext& c) {
  const auto axis = c.attributes.integer("axis", 0);
  std::vector<ValueId> parts;
  for (size_t i = 2; i + 1 < c.input_count(); i += 3) parts.push_back(dequantised(c, i, i + 1, i + 2));
  if (parts.empty()) throw Unsupported("it has no inputs; the file is damaged");
  const ConcatAttrs attrs{normalise_axis(axis, c.rank(parts[0]))};
  quantised_result(c, parts.size() == 1 ? parts[0] : c.step(attrs, parts), 0, 1);
}

// a, scale, zero, b, scale, zero, [bias], [y scale], [y zero]
void lower_qgemm(NodeContext& c) {
  const bool transpose_b = c.attributes.flag("transB", false);
  const float alpha = c.attributes.number("alpha", 1.0f);
  const MatMulAttrs attrs{c.attributes.flag("transA", false), transpose_b};
  ValueId y = c.step(attrs, {dequantised(c, 0, 1, 2), dequantised(c, 3, 4, 5, transpose_b ? 0 : 1)});
  if (const ValueId bias = scaled_bias(c, 6, 1, 4); bias != kNoValue) y = c.step(BinaryAttrs{BinaryKind::kAdd}, {y, bias});
  if (alpha != 1.0f) y = c.step(BinaryAttrs{BinaryKind::kMul}, {y, c.scalar(alpha)});
  if (c.has(7)) return quantised_result(c, y, 7, 8);
  note_quantisation(c);
  c.alias(y);
}

}  // namespace actmatch::onnx_import
