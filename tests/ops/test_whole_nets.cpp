// Small nets of the families the engine is made for, with random weights, against the reference in double.
#include "tests/ops/graph_maker.h"

namespace actmatch::test {
namespace {

// Ten to twenty layers of fp32 sums: 1e-12 is usual. TF32 or a wrong layer anywhere would be far above 1e-10.
const Tolerance kNet = squared(1e-10);

ValueId residual_block(GraphMaker& g, ValueId x, int64_t channels, int64_t stride) {
  const ValueId body = g.conv(g.relu(g.conv(x, channels, 3, stride, 1)), channels, 3, 1, 1);
  const ValueId skip = stride == 1 && g.shape(x)[1] == channels ? x : g.conv(x, channels, 1, stride, 0);
  return g.relu(g.sum(body, skip));
}

TEST(WholeNets, ResNetWithTaps) {
  const auto make = [](GraphMaker& g) {
    const ValueId x = g.input(g.random().uniform({2, 3, 33, 33}));
    ValueId v = g.relu(g.conv(x, 8, 7, 2, 3));
    g.seed(v);
    v = g.add(PoolAttrs{PoolMode::kMax, {3, 3}, {2, 2}, {1, 1, 1, 1}}, {v});
    v = residual_block(g, v, 8, 1);
    g.seed(v);
    v = residual_block(g, v, 20, 2);
    v = residual_block(g, v, 20, 1);
    g.seed(v);
    v = residual_block(g, v, 32, 2);
    g.seed(v);
    g.output(g.linear(g.flat(g.global_mean(v)), 10));
  };
  for (Leaf weights : {Leaf::kConstant, Leaf::kParameter}) {
    GraphMaker g = clear_of_kinks(400, weights, make);
    g.check(kNet, kNet);
    g.take_in_place();
    g.check(kNet, kNet);
  }
}

ValueId relu6(GraphMaker& g, ValueId x) { return g.unary(UnaryKind::kClip, x, 0.0f, 6.0f); }
ValueId inverted_residual(GraphMaker& g, ValueId x, int64_t out, int64_t stride, bool squeeze) {
  const int64_t in = g.shape(x)[1], wide = 3 * in;
  ValueId v = relu6(g, g.conv(x, wide, 1, 1, 0));
  v = relu6(g, g.conv(v, wide, 3, stride, 1, wide));
  if (squeeze) {
    ValueId gate = g.relu(g.conv(g.global_mean(v), 4, 1, 1, 0));
    gate = g.unary(UnaryKind::kHardSigmoid, g.conv(gate, wide, 1, 1, 0), 1.0f / 6.0f, 0.5f);
    v = g.binary(BinaryKind::kMul, v, gate);
  }
  v = g.conv(v, out, 1, 1, 0);
  return stride == 1 && in == out ? g.sum(x, v) : v;
}

TEST(WholeNets, MobileNetWithTaps) {
  const auto make = [](GraphMaker& g) {
    const ValueId x = g.input(g.random().uniform({2, 3, 29, 27}));
    ValueId v = relu6(g, g.conv(x, 8, 3, 2, 1));
    v = inverted_residual(g, v, 6, 1, false);
    g.seed(v);
    v = inverted_residual(g, v, 12, 2, false);
    v = inverted_residual(g, v, 12, 1, true);
    g.seed(v);
    v = inverted_residual(g, v, 20, 2, true);
    v = g.unary(UnaryKind::kHardSwish, g.conv(v, 24, 1, 1, 0));
    g.output(g.linear(g.flat(g.global_mean(v)), 10));
  };
  for (Leaf weights : {Leaf::kConstant, Leaf::kParameter}) {
    GraphMaker g = clear_of_kinks(500, weights, make);
    if (weights == Leaf::kConstant) g.take_in_place();
    g.check(kNet, kNet);
  }
}

// Patches, attention with layer normalisation spelled out in small operators, GELU: the transformer's share of the operators.
TEST(WholeNets, TransformerBlock) {
  const auto make = [](GraphMaker& g) {
    const int64_t width = 12, heads = 3, each = width / heads;
    const ValueId x = g.input(g.random().uniform({2, 3, 12, 12}));
    ValueId v = g.conv(x, width, 4, 4, 0);
    v = g.add(TransposeAttrs{{0, 2, 1}}, {g.add(ReshapeAttrs{{2, width, 9}}, {v})});
    const auto scalar = [&](float value) { return g.graph.add_constant("scalar", Tensor::scalar(value)); };
    const auto normalised = [&](ValueId t) {
      const ReduceAttrs mean{ReduceKind::kMean, {2}, true};
      const ValueId centred = g.binary(BinaryKind::kSub, t, g.add(mean, {t}));
      const ValueId variance = g.add(mean, {g.binary(BinaryKind::kPow, centred, scalar(2))});
      const ValueId deviation = g.unary(UnaryKind::kSqrt, g.sum(variance, scalar(1e-3f)));
      return g.sum(g.binary(BinaryKind::kMul, g.binary(BinaryKind::kDiv, centred, deviation), g.weight({width}, 1)),
                   g.weight({width}, 0.1));
    };
    // Without a bias: softmax does not see one in the keys, whose gradient would be rounding noise around zero.
    const auto split = [&](ValueId t, bool transposed) {
      const ValueId parts = g.add(ReshapeAttrs{{2, 9, heads, each}}, {g.linear(t, width, false)});
      return g.add(TransposeAttrs{transposed ? std::vector<int64_t>{0, 2, 3, 1} : std::vector<int64_t>{0, 2, 1, 3}}, {parts});
    };
    const ValueId t = normalised(v);
    const ValueId scores = g.binary(BinaryKind::kMul, g.add(MatMulAttrs{}, {split(t, false), split(t, true)}), scalar(0.5f));
    const ValueId mixed = g.add(MatMulAttrs{}, {g.add(SoftmaxAttrs{3, false}, {scores}), split(t, false)});
    v = g.sum(v, g.linear(g.add(ReshapeAttrs{{2, 9, width}}, {g.add(TransposeAttrs{{0, 2, 1, 3}}, {mixed})}), width));
    g.seed(v);
    const ValueId hidden = g.linear(normalised(v), 2 * width);
    const ValueId gelu = g.binary(BinaryKind::kMul, g.binary(BinaryKind::kMul, hidden, scalar(0.5f)),
                                  g.sum(g.unary(UnaryKind::kErf, g.binary(BinaryKind::kMul, hidden, scalar(0.70710678f))), scalar(1)));
    v = g.sum(v, g.linear(gelu, width));
    const ValueId first = g.add(SliceAttrs{{0, 0, 0}, {1, 1, 1}, {2, 1, width}}, {v});
    g.output(g.linear(g.add(ReshapeAttrs{{2, width}}, {first}), 5));
  };
  for (Leaf weights : {Leaf::kConstant, Leaf::kParameter}) {
    GraphMaker g(600, weights);
    make(g);
    g.check(kNet, kNet);
  }
}

}  // namespace
}  // namespace actmatch::test
