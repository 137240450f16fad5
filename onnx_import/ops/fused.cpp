// Operators that ONNX Runtime's optimiser makes of several of the standard's.
#include <limits>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"
#include "onnx_import/ops/window.h"

namespace actmatch::onnx_import {
namespace {

ValueId activated(NodeContext& c, ValueId x) {
  const std::string name = c.attributes.text("activation", "");
  const std::vector<float> given = c.attributes.numbers("activation_params");
  const auto parameter = [&](size_t i, float otherwise) { return i < given.size() ? given[i] : otherwise; };
  if (name.empty()) return x;
  if (name == "Relu") return unary(c, UnaryKind::kRelu, x);
  if (name == "Sigmoid") return unary(c, UnaryKind::kSigmoid, x);
  if (name == "Tanh") return unary(c, UnaryKind::kTanh, x);
  if (name == "LeakyRelu") return c.step(UnaryAttrs{UnaryKind::kLeakyRelu, parameter(0, 0.01f)}, {x});
  if (name == "HardSigmoid") return c.step(UnaryAttrs{UnaryKind::kHardSigmoid, parameter(0, 0.2f), parameter(1, 0.5f)}, {x});
  if (name == "Clip")
    return c.step(
        UnaryAttrs{UnaryKind::kClip, parameter(0, std::numeric_limits<float>::lowest()), parameter(1, std::numeric_limits<float>::max())},
        {x});
  throw Unsupported("the activation '" + name + "' is not supported");
}

}  // namespace

// activation(Conv(x, w, b) + z)
void lower_microsoft_fused_conv(NodeContext& c) {
  const size_t spatial = spatial_rank(c);
  if (spatial == 3) throw Unsupported("three spatial axes are not supported");
  Window window = read_window(c, spatial, kernel_of_weights(c, spatial));
  read_padding(c, window);
  const PlaneWindow plane = plane_of(window);
  std::vector<ValueId> inputs{with_two_axes(c, c.input(0), spatial), with_two_axes(c, c.input(1), spatial)};
  if (c.has(2)) inputs.push_back(c.input(2));
  ValueId y = c.step(ConvAttrs{plane.strides, plane.pads, plane.dilations, c.attributes.integer("group", 1, 1)}, std::move(inputs));
  Shape shape = c.shape(y);
  if (spatial == 1) shape.erase(shape.begin() + 2);
  y = c.reshape(y, shape);
  if (c.has(3)) y = add(c, y, c.input(3));
  c.alias(activated(c, y));
}

// activation(Gemm(A, B, C))
void lower_microsoft_fused_gemm(NodeContext& c) {
  const MatMulAttrs attrs{c.attributes.flag("transA", false), c.attributes.flag("transB", false)};
  if (c.rank(c.input(0)) != 2 || c.rank(c.input(1)) != 2) throw Unsupported("its operands must be matrices");
  const auto scaled = [&](ValueId x, float factor) { return factor == 1.0f ? x : multiply(c, x, c.scalar(factor)); };
  ValueId y = scaled(c.step(attrs, {c.input(0), c.input(1)}), c.attributes.number("alpha", 1.0f));
  if (c.has(2)) y = add(c, y, scaled(c.input(2), c.attributes.number("beta", 1.0f)));
  for (const char* name : {"activation_alpha", "activation_beta", "activation_gamma"})
    if (c.attributes.number(name, 0.0f) != 0.0f && c.attributes.text("activation", "") != "LeakyRelu")
      throw Unsupported(std::string("attribute '") + name + "' is not supported");
  if (c.attributes.text("activation", "") == "LeakyRelu")
    return c.result(UnaryAttrs{UnaryKind::kLeakyRelu, c.attributes.number("activation_alpha", 0.01f)}, {y});
  c.alias(activated(c, y));
}

// alpha A' B', each transposed where it says so.
void lower_microsoft_fused_mat_mul(NodeContext& c) {
  if (c.attributes.flag("transBatchA", false) || c.attributes.flag("transBatchB", false))
    throw Unsupported("transposed batches are not supported");
  const MatMulAttrs attrs{c.attributes.flag("transA", false), c.attributes.flag("transB", false)};
  if (c.rank(c.input(0)) < 2 || c.rank(c.input(1)) < 2) throw Unsupported("its operands must be matrices");
  const ValueId product = c.step(attrs, {c.input(0), c.input(1)});
  const float alpha = c.attributes.number("alpha", 1.0f);
  c.alias(alpha == 1.0f ? product : multiply(c, product, c.scalar(alpha)));
}

// The sum of x, skip and a bias, normalised over the last axis. The sum itself is output 3.
void lower_microsoft_skip_layer_normalization(NodeContext& c) {
  ValueId x = add(c, c.input(0), c.input(1));
  if (c.has(4)) x = add(c, x, c.input(4));
  const std::vector<int64_t> last{c.rank(x) - 1};
  const ValueId centred = subtract(c, x, reduce(c, ReduceKind::kMean, last, x));
  const ValueId variance = reduce(c, ReduceKind::kMean, last, multiply(c, centred, centred));
  const ValueId deviation = unary(c, UnaryKind::kSqrt, add(c, variance, c.scalar(c.attributes.number("epsilon", 1e-12f))));
  ValueId y = multiply(c, divide(c, centred, deviation), c.input(2));
  if (c.has(3)) y = add(c, y, c.input(3));
  c.refuse_output(1, "mean");
  c.refuse_output(2, "inv_std_var");
  c.alias(y);
  if (c.output_used(3)) c.alias(x, 3);
}

}  // namespace actmatch::onnx_import
