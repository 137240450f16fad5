#include <set>

#include "engine/explain/classifier.h"
#include "tests/explain/objective_bench.h"

namespace actmatch::test {
namespace {

// Does every path from the input to the logits run through v? By reachability, without any notion of liveness.
bool is_cut(const Graph& g, ValueId input, ValueId logits, ValueId v) {
  std::set<ValueId> reached{input};
  for (const Node& node : g.nodes())
    if (node.output != v && std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId i) { return reached.count(i) > 0; }))
      reached.insert(node.output);
  return !reached.count(logits);
}

int64_t resolution(const Graph& g, ValueId v) {
  const Shape& s = g.value(v).shape;
  return s.size() == 4 ? s[2] * s[3] : 0;
}

// Each tap is a cut, nothing behind it with the same resolution is one, and they are in order.
void check_taps(const Graph& g, const std::vector<ValueId>& taps) {
  const ClassifierEnds ends = find_ends(g);
  int64_t last = -1;
  for (ValueId tap : taps) {
    EXPECT_TRUE(is_cut(g, ends.input, ends.logits, tap)) << g.value(tap).name;
    const int64_t at = g.value(tap).producer;
    EXPECT_GT(at, last);
    last = at;
    for (size_t i = static_cast<size_t>(at) + 1; i < g.nodes().size(); ++i) {
      const ValueId later = g.nodes()[i].output;
      EXPECT_FALSE(resolution(g, later) == resolution(g, tap) && is_cut(g, ends.input, ends.logits, later))
          << g.value(later).name << " ends the stage of " << g.value(tap).name;
    }
  }
}

TEST(Taps, EndsOfTheStagesOfShapes96) {
  const Graph g = Shapes96::source()(1, {});
  const ClassifierEnds ends = find_ends(g);
  const auto taps = find_taps(g, ends.input, ends.logits, 5);
  check_taps(g, taps);
  std::vector<Shape> shapes;
  for (ValueId v : taps) shapes.push_back(g.value(v).shape);
  EXPECT_EQ(shapes, (std::vector<Shape>{{1, 16, 48, 48}, {1, 32, 24, 24}, {1, 64, 12, 12}}));
  const auto deepest = find_taps(g, ends.input, ends.logits, 2);
  EXPECT_EQ(deepest, (std::vector<ValueId>{taps[1], taps[2]}));
  Classifier c(cpu(), Shapes96::source());
  EXPECT_EQ(c.automatic_taps(2), (std::vector<std::string>{g.value(taps[1]).name, g.value(taps[2]).name}));
}

// Two stages of residual blocks. The branches are longer than the shortcuts, so that only the sums are cuts.
Graph residual_net(int64_t batch) {
  Graph g;
  uint32_t seed = 40;
  const auto conv = [&](const std::string& name, ValueId in, int64_t out, int64_t stride) {
    const ValueId w = g.add_constant(name + ".w", scaled_noise({out, g.value(in).shape[1], 3, 3}, seed++, 0.3f));
    return g.add_node(name, ConvAttrs{{stride, stride}, {1, 1, 1, 1}, {1, 1}, 1}, {in, w}, name);
  };
  const auto relu = [&](const std::string& name, ValueId in) { return g.add_node(name, UnaryAttrs{}, {in}, name); };
  const auto block = [&](const std::string& name, ValueId in, int64_t out, int64_t stride) {
    ValueId a = relu(name + ".a.relu", conv(name + ".a", in, out, stride));
    a = conv(name + ".b", a, out, 1);
    const ValueId shortcut = stride == 1 ? in : conv(name + ".short", in, out, stride);
    return relu(name + ".end", g.add_node(name + ".sum", BinaryAttrs{BinaryKind::kAdd}, {a, shortcut}, name + ".sum"));
  };
  ValueId x = relu("stem", conv("stem.conv", g.add_input("image", DType::kF32, {batch, 3, 8, 8}), 4, 1));
  x = block("one", x, 4, 1);
  x = block("two", x, 6, 2);
  x = block("three", x, 6, 1);
  x = g.add_node("pool", ReduceAttrs{ReduceKind::kMean, {2, 3}, false}, {x});
  g.mark_output(g.add_node("linear", MatMulAttrs{}, {x, g.add_constant("linear.w", noise({6, 3}, 50))}, "logits"));
  return g;
}

TEST(Taps, EndsOfTheStagesOfAResidualNet) {
  const Graph g = residual_net(2);
  const ClassifierEnds ends = find_ends(g);
  const auto taps = find_taps(g, ends.input, ends.logits, 5);
  check_taps(g, taps);
  EXPECT_EQ(taps, (std::vector<ValueId>{g.find("one.end"), g.find("three.end")}));
}

// Patches as tokens N,T,D, and `blocks` residual blocks on them.
Graph token_net(int64_t batch, int blocks) {
  Graph g;
  const ValueId x = g.add_input("image", DType::kF32, {batch, 3, 8, 8});
  const ValueId patch =
      g.add_node("patch", ConvAttrs{{2, 2}, {0, 0, 0, 0}, {1, 1}, 1}, {x, g.add_constant("patch.w", noise({5, 3, 2, 2}, 60))}, "patches");
  const ValueId flat = g.add_node("flat", ReshapeAttrs{{batch, 5, 16}}, {patch});
  ValueId t = g.add_node("tokens", TransposeAttrs{{0, 2, 1}}, {flat}, "block0");
  for (int b = 1; b <= blocks; ++b) {
    const std::string name = "block" + std::to_string(b);
    const ValueId w = g.add_constant(name + ".w", scaled_noise({5, 5}, 60 + static_cast<uint32_t>(b), 0.3f));
    const ValueId inner =
        g.add_node(name + ".mix", UnaryAttrs{UnaryKind::kTanh, 0, 0}, {g.add_node(name + ".linear", MatMulAttrs{}, {t, w})});
    t = g.add_node(name + ".add", BinaryAttrs{BinaryKind::kAdd}, {t, inner}, name);
  }
  const ValueId mean = g.add_node("mean", ReduceAttrs{ReduceKind::kMean, {1}, false}, {t});
  g.mark_output(g.add_node("head", MatMulAttrs{}, {mean, g.add_constant("head.w", noise({5, 3}, 70))}, "logits"));
  return g;
}

TEST(Taps, ResidualStreamOfATransformer) {
  const Graph g = token_net(1, 6);
  const ClassifierEnds ends = find_ends(g);
  const auto taps = find_taps(g, ends.input, ends.logits, 3);
  ASSERT_EQ(taps.size(), 3u);
  int64_t last = -1;
  for (ValueId v : taps) {
    EXPECT_TRUE(is_cut(g, ends.input, ends.logits, v));
    EXPECT_EQ(g.value(v).shape, (Shape{1, 16, 5}));
    EXPECT_GT(g.value(v).producer, last);
    last = g.value(v).producer;
  }
  EXPECT_EQ(taps.back(), g.find("block6"));
}

TEST(Taps, TokensAreSeenAsTheyLie) {
  const GraphSource source = [](int64_t batch, const std::vector<std::string>&) { return token_net(batch, 3); };
  Classifier c(cpu(), source);
  auto net = c.compile_training(2, {"block2"});
  EXPECT_EQ(net.tap(0), (Classifier::TapView{5, 16, kernels::ChannelOrder::kLast}));
  ASSERT_EQ(net.graph.value(net.taps.at(0)).shape, (Shape{2, 16, 5}));
  Probe probe(source, {"block2"});
  const auto images = list<float>(noise({2, 3, 8, 8}, 71));
  cpu().upload(net.program->data(net.ends.input), images.data(), images.size());
  net.program->forward();
  std::vector<float> seen(2 * 5 * 16);
  cpu().download(seen.data(), net.program->data(net.taps[0]), seen.size());
  for (size_t n = 0; n < 2; ++n) {
    probe.logits({images.begin() + static_cast<std::ptrdiff_t>(n * 192), images.begin() + static_cast<std::ptrdiff_t>((n + 1) * 192)});
    const auto tokens = probe.tap(0);  // [16, 5]
    // The batch may change the order of sums of 5 to 12 terms of order 1.
    for (size_t i = 0; i < tokens.size(); ++i) ASSERT_NEAR(seen[n * 80 + i], tokens[i], 2e-6);
  }
}

TEST(Taps, FeatureMapsOnTheCpuHaveTheirChannelsFirst) {
  Classifier c(cpu(), conv_classifier());
  auto net = c.compile_training(1, {"late"});
  EXPECT_EQ(net.tap(0), (Classifier::TapView{8, 16, kernels::ChannelOrder::kFirst}));
}

// The distances between tokens by their definition, through a whole step.
TEST(Taps, DistancesBetweenTokens) {
  const GraphSource source = [](int64_t batch, const std::vector<std::string>&) { return token_net(batch, 3); };
  Classifier c(cpu(), source);
  const Problem problem = problem_for(c, noise_image(c.shape(), 72), 0.1f);
  Probe probe(source, {"block2"});
  const auto seen = [&](const std::vector<float>& image) {  // [5, 16]
    probe.logits(image);
    const auto tokens = probe.tap(0);
    std::vector<double> out(tokens.size());
    for (size_t i = 0; i < out.size(); ++i) out[i % 5 * 16 + i / 5] = tokens[i];
    return out;
  };
  Recipe r = still_recipe();
  r.weights.act = 1;
  r.taps.names = {"block2"};
  const auto s = first_logits(r, problem);
  const Masks m = top_masks(s, 32, r.area.temperature);
  const auto x = seen(problem.x), e = seen(blend(problem.x, m.hard, colour_image(problem)));
  for (TapDistance d :
       {TapDistance::kKlChannels, TapDistance::kKlPositions, TapDistance::kCosine, TapDistance::kMse, TapDistance::kStandardisedMse}) {
    r.taps.distances = {d};
    const OptimisedMask mask = Optimiser(c, r).run(problem, kSeed, {});
    const double want = distance_of(d, x, e, 5);
    EXPECT_GT(want, 1e-4);
    EXPECT_NEAR(trace(mask, "act").at(0), want, 1e-4 * std::max(1.0, want)) << name_of(d);  // float against double, as in test_objective
  }
}

TEST(Taps, NamesThatCannotBeTappedAreRefused) {
  Classifier c(cpu(), conv_classifier());
  expect_mentions(error_of([&] { c.compile_training(1, {"nowhere"}); }), {"'nowhere'", "inspect"});
  expect_mentions(error_of([&] { c.compile_training(1, {"logits"}); }), {"'logits'", "1x4", "N,C,H,W"});
  expect_mentions(error_of([&] { c.compile_training(1, {"image"}); }), {"'image'"});
  Classifier shapes(cpu(), Shapes96::source());
  expect_mentions(error_of([&] { shapes.compile_training(1, {"nowhere"}); }), {"nowhere"});
}

}  // namespace
}  // namespace actmatch::test
