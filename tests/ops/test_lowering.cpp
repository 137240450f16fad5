// Graphs of a few nodes that stress how the backend lays values out, fuses activations, adds gradients up and reuses memory.
#include "tests/ops/graph_maker.h"

namespace actmatch::test {
namespace {

// fp32 through a handful of layers: 1e-13 to 1e-12 is usual.
const Tolerance kFewLayers = squared(1e-11);

template <class Make>
void check(const Make& make, uint64_t seed = 100) {
  for (Leaf weights : {Leaf::kConstant, Leaf::kParameter}) {
    SCOPED_TRACE(weights == Leaf::kConstant ? "frozen weights" : "trainable weights");
    clear_of_kinks(seed, weights, make).check(kFewLayers, kFewLayers);
  }
}

TEST(Lowering, FusedActivations) {
  for (int64_t channels : {3, 8, 13, 16})
    for (int kind = 0; kind < 3; ++kind)
      check([&](GraphMaker& g) {
        ValueId v = g.conv(g.input(g.random().uniform({2, 3, 7, 6})), channels, 3, 1, 1);
        v = kind == 0 ? g.relu(v) : g.unary(UnaryKind::kClip, v, kind == 1 ? 0.0f : -0.5f, 0.75f);
        g.output(g.conv(v, 5, 3, 2, 1));
      });
}

// x sigmoid(x) either way round, with an activation behind it, and where the sigmoid has another reader or is an output itself.
TEST(Lowering, Swishes) {
  for (int64_t channels : {8, 13})
    for (int kind = 0; kind < 5; ++kind)
      check([&](GraphMaker& g) {
        const ValueId x = g.conv(g.input(g.random().uniform({2, 3, 7, 6})), channels, 3, 1, 1);
        const ValueId gate = g.unary(UnaryKind::kSigmoid, x);
        ValueId v = kind == 0 ? g.binary(BinaryKind::kMul, gate, x) : g.binary(BinaryKind::kMul, x, gate);
        if (kind == 2) v = g.relu(v);
        if (kind == 3) v = g.sum(v, gate);
        if (kind == 4) g.output(gate);
        g.output(g.conv(v, 5, 3, 2, 1));
      });
}

// A clip that does not keep zero cannot run in a padded layout; one that only raises may not be fused.
TEST(Lowering, ClipsThatMoveZero) {
  check([&](GraphMaker& g) {
    ValueId v = g.conv(g.input(g.random().uniform({2, 3, 7, 6})), 13, 3, 1, 1);
    v = g.unary(UnaryKind::kClip, v, 0.25f, 1.0f);
    g.output(g.conv(v, 5, 3, 1, 1));
  });
}

TEST(Lowering, ResidualDiamonds) {
  for (int64_t channels : {4, 8, 16, 17})
    check([&](GraphMaker& g) {
      ValueId x = g.relu(g.conv(g.input(g.random().uniform({2, 3, 8, 8})), channels, 3, 1, 1));
      for (int block = 0; block < 2; ++block) {
        const ValueId body = g.conv(g.relu(g.conv(x, channels, 3, 1, 1)), channels, 3, 1, 1);
        x = g.relu(block == 0 ? g.sum(body, x) : g.sum(x, body));
      }
      g.output(g.global_mean(x));
    });
}

TEST(Lowering, AnActivationReadTwiceIsNotSwallowed) {
  check([](GraphMaker& g) {
    const ValueId c = g.conv(g.input(g.random().uniform({2, 3, 6, 6})), 9, 3, 1, 1);
    const ValueId before = g.unary(UnaryKind::kTanh, c), after = g.relu(c);  // c has two consumers
    g.output(g.conv(g.sum(before, after), 4, 1, 1, 0));
    g.output(g.relu(before));
  });
}

TEST(Lowering, AValueInSeveralLayouts) {
  for (int64_t channels : {5, 16, 20})
    check([&](GraphMaker& g) {
      const ValueId c = g.relu(g.conv(g.input(g.random().uniform({2, 3, 9, 7})), channels, 3, 1, 1));
      const ValueId blocked = g.conv(c, 8, 3, 2, 1);                  // the layout of convolutions
      const ValueId rows = g.add(TransposeAttrs{{0, 2, 3, 1}}, {c});  // row-major
      const ValueId plain = g.add(SoftmaxAttrs{3, false}, {rows});
      const ValueId pooled = g.add(PoolAttrs{PoolMode::kMax, {3, 3}, {2, 2}, {1, 1, 1, 1}}, {c});
      const ValueId again = g.conv(c, 3, 1, 1, 0);
      g.output(blocked);
      g.output(plain);
      g.output(pooled);
      g.output(again);
    });
}

TEST(Lowering, PoolsOfOddChannelsThenGlobalPoolThenLinear) {
  for (int64_t channels : {3, 7, 12, 24})
    check([&](GraphMaker& g) {
      ValueId v = g.relu(g.conv(g.input(g.random().uniform({3, 3, 11, 9})), channels, 3, 1, 1));
      v = g.add(PoolAttrs{PoolMode::kMax, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}, true}, {v});
      v = g.add(PoolAttrs{PoolMode::kAverageIncludePad, {2, 2}, {1, 1}, {1, 0, 0, 1}}, {v});
      g.output(g.linear(g.flat(g.global_mean(v)), 10));
    });
}

// Max pooling takes 8, 16 or 32 channels at a time, of blocked and of channels-last values.
TEST(Lowering, MaxPoolsOfManyChannels) {
  for (int64_t channels : {8, 16, 40, 64})
    check([&](GraphMaker& g) {
      ValueId v = g.relu(g.conv(g.input(g.random().uniform({2, 3, 6, 5})), channels, 1, 1, 0));
      v = g.add(PoolAttrs{PoolMode::kMax, {3, 2}, {1, 2}, {1, 0, 1, 1}}, {v});
      g.output(g.conv(v, 3, 1, 1, 0));
    });
}

TEST(Lowering, ConcatenationsOfConvolutionsThenPooled) {
  for (int64_t channels : {16, 20})
    check([&](GraphMaker& g) {
      const ValueId x = g.relu(g.conv(g.input(g.random().uniform({2, 3, 7, 6})), 12, 1, 1, 0));
      const ValueId narrow = g.relu(g.conv(x, channels, 1, 1, 0)), wide = g.relu(g.conv(x, 16, 3, 1, 1));
      const ValueId both = g.add(ConcatAttrs{1}, {narrow, wide});
      const ValueId pooled = g.add(PoolAttrs{PoolMode::kMax, {2, 2}, {2, 2}}, {both});
      g.output(g.conv(pooled, 5, 1, 1, 0));
      g.output(g.add(ConcatAttrs{1}, {both, narrow}));  // read twice
    });
}

TEST(Lowering, ConcatenationsOfOddAndBlockedCounts) {
  check([](GraphMaker& g) {
    const ValueId x = g.input(g.random().uniform({2, 3, 8, 8}));
    const ValueId a = g.relu(g.conv(x, 16, 3, 1, 1)), b = g.relu(g.conv(x, 5, 3, 1, 1));
    const ValueId odd = g.add(ConcatAttrs{1}, {a, b, x});
    const ValueId even = g.add(ConcatAttrs{1}, {a, g.relu(g.conv(odd, 32, 1, 1, 0))});
    g.output(g.conv(even, 7, 3, 2, 1));
  });
}

TEST(Lowering, SeedsInTheMiddleAndAtTheEndAdd) {
  check([](GraphMaker& g) {
    const ValueId first = g.relu(g.conv(g.input(g.random().uniform({2, 3, 8, 8})), 12, 3, 1, 1));
    const ValueId raw = g.conv(first, 16, 3, 1, 1);  // seeded before its activation, which then cannot be fused
    const ValueId second = g.relu(raw);
    const ValueId logits = g.linear(g.flat(g.global_mean(second)), 5);
    g.seed(first);
    g.seed(raw);
    g.seed(second);
    g.output(logits);
  });
}

TEST(Lowering, WantedGradientsOfActivations) {
  check([](GraphMaker& g) {
    const ValueId first = g.relu(g.conv(g.input(g.random().uniform({2, 3, 8, 8})), 12, 3, 1, 1));
    const ValueId raw = g.conv(first, 16, 3, 1, 1);
    const ValueId second = g.relu(raw);
    for (ValueId v : {first, raw, second}) g.options.gradients.wanted.push_back(v);
    g.output(g.linear(g.flat(g.global_mean(second)), 5));
  });
  // Only the activation's, as a class activation map asks: nothing in front of it needs a backward pass.
  check([](GraphMaker& g) {
    const ValueId x = g.input(g.random().uniform({1, 3, 8, 8}));
    const ValueId map = g.relu(g.conv(x, 11, 3, 1, 1));
    g.output(g.linear(g.flat(g.global_mean(g.relu(g.conv(map, 16, 3, 2, 1)))), 5));
    g.options.gradients.wanted = {map};
    g.options.exposed = {map};
  });
}

TEST(Lowering, ASeededInputHandsItsSeedOn) {
  GraphMaker g(1);
  const ValueId x = g.input(g.random().uniform({2, 3})), y = g.unary(UnaryKind::kTanh, x);
  g.output(y);
  g.options.gradients.wanted.clear();
  g.seed(x);
  g.check(epsilons(4), exact());  // tanh is right to an ulp or two; no gradient is asked for
  g.options.gradients.wanted = {x};
  EXPECT_THROW(tested_backend().compile(g.graph, g.options), Error);
}

TEST(Lowering, WantedGradientsThatNoSeedReachesAreZero) {
  check([](GraphMaker& g) {
    const ValueId x = g.input(g.random().uniform({2, 3, 6, 6})), unused = g.input(g.random().uniform({2, 2}));
    const ValueId branch = g.conv(x, 4, 3, 1, 1);
    g.output(g.conv(x, 5, 3, 1, 1));
    g.graph.mark_output(branch);  // computed, not seeded: its weights get no gradient
    g.graph.mark_output(g.unary(UnaryKind::kExp, unused));
  });
}

TEST(Lowering, SharedWeights) {
  for (int64_t channels : {6, 16})
    check([&](GraphMaker& g) {
      const ValueId x = g.input(g.random().uniform({2, channels, 8, 8}));
      const ValueId w = g.weight({channels, channels, 3, 3}, 0.2), b = g.weight({channels}, 0.1);
      const ConvAttrs same{{1, 1}, {1, 1, 1, 1}}, half{{2, 2}, {1, 1, 1, 1}};
      ValueId v = g.relu(g.add(same, {x, w, b}));
      v = g.relu(g.add(half, {v, w, b}));
      // The same square weight read the other way round: a transposed convolution swaps its two channel axes.
      v = g.add(ConvTransposeAttrs{{1, 1}, {1, 1, 1, 1}}, {v, w, b});
      g.output(v);
      if (!g.graph.is_constant(w)) g.output(g.unary(UnaryKind::kTanh, w));  // and once as an ordinary value, row-major
    });
}

TEST(Lowering, AConvolutionWithItsOwnInputAsWeight) {
  GraphMaker g(3);
  const ValueId x = g.input(g.random().uniform({4, 4, 3, 3}));
  g.output(g.add(ConvAttrs{{1, 1}, {1, 1, 1, 1}}, {x, x}));
  const ValueId c = identity_conv(g.graph, x, "conv");
  g.output(g.add(ConvAttrs{{1, 1}, {1, 1, 1, 1}}, {c, c}));
  g.check(kFewLayers, kFewLayers);
}

TEST(Lowering, EncoderDecoderWithSkips) {  // the generator's form
  check(
      [](GraphMaker& g) {
        const ValueId x = g.input(g.random().uniform({2, 3, 8, 8}));
        const auto twice = [&](ValueId v, int64_t n) { return g.relu(g.conv(g.relu(g.conv(v, n, 3, 1, 1)), n, 3, 1, 1)); };
        const ValueId top = twice(x, 8);
        const ValueId low = twice(g.add(PoolAttrs{PoolMode::kMax, {2, 2}, {2, 2}}, {top}), 16);
        const ValueId up = g.add(ConvTransposeAttrs{{2, 2}}, {low, g.weight({16, 8, 2, 2}, 0.3), g.weight({8}, 0.1)});
        g.output(g.conv(twice(g.add(ConcatAttrs{1}, {up, top}), 8), 1, 1, 1, 0));
      },
      200);
}

TEST(Lowering, ScaleShiftBetweenLayouts) {
  for (int64_t channels : {7, 16, 20})
    check([&](GraphMaker& g) {
      const ValueId c = g.conv(g.input(g.random().uniform({2, 3, 6, 5})), channels, 3, 1, 1);
      const ValueId s = g.graph.add_constant("scale", to_tensor(g.random().uniform({channels}, 0.5, 1.5)));
      const ValueId t = g.graph.add_constant("shift", to_tensor(g.random().uniform({channels})));
      const ValueId y = g.relu(g.add(ScaleShiftAttrs{}, {c, s, t}));
      g.output(g.conv(g.sum(y, c), 4, 3, 1, 1));
    });
}

TEST(Lowering, AnInputOrAConstantAsOutput) {
  GraphMaker g(4);
  const ValueId x = g.input(g.random().uniform({2, 3}));
  const ValueId c = g.graph.add_constant("c", to_tensor(g.random().uniform({4})));
  g.graph.mark_output(x);
  g.graph.mark_output(c);
  g.output(g.unary(UnaryKind::kNeg, x));
  g.check(exact(), exact());
}

}  // namespace
}  // namespace actmatch::test
