// The methods on nets whose answers can be worked out by hand, and what all of them have in common.
#include "engine/methods/registry.h"

#include <cmath>
#include <set>
#include <tuple>

#include "engine/explain/recipe.h"
#include "engine/image/file.h"
#include "kernels/philox.h"
#include "tests/explain/explain_test_util.h"
#include "tests/support/expect_error.h"

namespace actmatch::test {
namespace {

using Json = nlohmann::json;

// Whatever the file's name, an explainer with its first weights.
ExplainerOpener opener(const Classifier& classifier) {
  return [shape = classifier.shape()](const std::string& path) -> TrainedExplainer {
    return {path, [shape](int64_t batch) {
              return build_generator({GeneratorKind::kCsae}, batch, shape.channels, shape.height, shape.width, 3, Sharing::kShared).graph;
            }};
  };
}

std::unique_ptr<Method> method(Classifier& classifier, const std::string& name, const Json& options = Json::object()) {
  return make_method(classifier, {name, "test", "the test's options", options}, false, opener(classifier)).method;
}

SoftMap map_of(Classifier& classifier, const Problem& problem, const std::string& name, const Json& options = Json::object(),
               uint64_t seed = 5) {
  return method(classifier, name, options)->run(std::span(&problem, 1), seed, {}).front();
}

// Options that make every method quick.
Json quick(const std::string& name) {
  if (name == "rise") return {{"masks", 40}};
  if (name == "smoothgrad") return {{"samples", 6}};
  if (name == "integrated-gradients") return {{"steps", 6}};
  if (name == "opticam" || name == "extremal" || name == "marc") return {{"steps", 8}};
  if (name == "amortised") return {{"generator", "any.onnx"}};
  Json options = Json::object();
  if (name == kMainMethod) {
    options = Json::parse(built_in_recipe("one-mask"));
    options["steps"] = 8;
  }
  return options;
}

// 1 x 2 x 3 -> 3 classes; logit 0 is the weighted sum of the pixels.
struct Linear {
  std::vector<float> weight{1, -2, 3, 0.5f, 0, -1}, x{1, 1, 2, -1, 4, 0.5f};
  Classifier classifier{cpu(), linear_classifier(2, 3, weight, 0.25f, -5)};
  Problem problem = problem_for(classifier, x, 0.5f, {}, 0);
};

TEST(Methods, GradientOfALinearNetIsItsWeights) {
  Linear net;
  EXPECT_EQ(map_of(net.classifier, net.problem, "gradient", {{"channels", "sum"}}).logits, net.weight);
  EXPECT_EQ(map_of(net.classifier, net.problem, "gradient").logits, (std::vector<float>{1, 2, 3, 0.5f, 0, 1}));
  EXPECT_EQ(map_of(net.classifier, net.problem, "smoothgrad", {{"samples", 3}}).logits, (std::vector<float>{1, 2, 3, 0.5f, 0, 1}));
  // d p_0 / d x = p_0 (1 - p_0) w, the other logits being constant.
  const SoftMap p = map_of(net.classifier, net.problem, "gradient", {{"channels", "sum"}, {"score", "probability"}});
  for (size_t i = 0; i < p.logits.size(); ++i) EXPECT_NEAR(p.logits[i], net.problem.p_x * (1 - net.problem.p_x) * net.weight[i], 1e-6);
  const SoftMap soft = map_of(net.classifier, net.problem, "gradient");
  EXPECT_EQ(soft.soft, (std::vector<float>{1 / 3.0f, 2 / 3.0f, 1, 0.5f / 3, 0, 1 / 3.0f})) << "stretched to 0..1";
  EXPECT_EQ(soft.forward, 1);
  EXPECT_EQ(soft.backward, 1);
}

TEST(Methods, IntegratedGradientsAreCompleteAndExactForALinearNet) {
  Linear net;
  for (const char* rule : {"gauss-legendre", "middle", "trapezoid"})
    for (const int steps : {1, 2, 7}) {
      const SoftMap map = map_of(net.classifier, net.problem, "integrated-gradients", {{"rule", rule}, {"steps", steps}});
      for (size_t i = 0; i < net.x.size(); ++i) EXPECT_NEAR(map.logits[i], net.weight[i] * (net.x[i] - 0.5f), 1e-6) << rule << steps;
      EXPECT_EQ(map.backward, steps);
    }
  const SoftMap zero = map_of(net.classifier, net.problem, "integrated-gradients", {{"baseline", "zero"}});
  const SoftMap black = map_of(net.classifier, net.problem, "integrated-gradients", {{"baseline", "black"}});
  EXPECT_NEAR(zero.logits[2], 6, 1e-6);
  EXPECT_NEAR(black.logits[2], 3 * (2 + 1.2), 1e-6) << "a black pixel is -1.2 there";
  // A net with a curve: the map's sum is the logit's rise from the baseline.
  const GraphSource source = conv_classifier(8, UnaryKind::kSoftplus);
  Classifier classifier(cpu(), source);
  const Problem problem = problem_for(classifier, noise_image(classifier.shape(), 3), 0.2f);
  const SoftMap map = map_of(classifier, problem, "integrated-gradients", {{"steps", 20}});
  Probe probe(source);
  double sum = 0;
  for (float v : map.logits) sum += v;
  const auto y = static_cast<size_t>(problem.label);
  const double rise = probe.logits(problem.x)[y] - probe.logits(colour_image(problem))[y];
  EXPECT_NEAR(sum, rise, 1e-4 * std::max(1.0, std::abs(rise)));  // Gauss-Legendre with 20 points is exact; sums in float
}

TEST(Methods, SmoothGradAveragesGradientsAtTheNoiseItDescribes) {
  const GraphSource source = conv_classifier(8, UnaryKind::kSoftplus);
  Classifier classifier(cpu(), source);
  const Problem problem = problem_for(classifier, noise_image(classifier.shape(), 4), 0.0f);
  const auto [low, high] = std::minmax_element(problem.x.begin(), problem.x.end());
  const double sigma = 0.3 * (static_cast<double>(*high) - *low);
  std::vector<double> mean(64, 0.0);
  for (uint32_t n = 0; n < 3; ++n) {
    Problem noisy = problem;
    for (size_t i = 0; i < noisy.x.size(); ++i)
      noisy.x[i] = static_cast<float>(
          problem.x[i] + sigma * kernels::normal_block(kernels::random_block(9, kernels::RandomStream::kMethod, 1, problem.image_index, n,
                                                                             static_cast<uint32_t>(i / 4)))
                                     .value[i % 4]);
    const SoftMap one = map_of(classifier, noisy, "gradient", {{"channels", "sum"}});
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += one.logits[i] / 3.0;
  }
  const SoftMap map = map_of(classifier, problem, "smoothgrad", {{"samples", 3}, {"noise", 0.3}, {"channels", "sum"}}, 9);
  for (size_t i = 0; i < mean.size(); ++i) EXPECT_NEAR(map.logits[i], mean[i], 1e-5);
}

TEST(Methods, GradCamByHand) {
  // The last convolution's map of conv_classifier, 4 x 4: the logit is linear in its means, so the weights are the linear layer's / 16.
  const GraphSource source = conv_classifier(8);
  Classifier classifier(cpu(), source);
  const Problem problem = problem_for(classifier, noise_image(classifier.shape(), 6), 0.0f);
  Probe probe(source, {"late"});
  probe.logits(problem.x);
  const std::vector<double> a = probe.tap(0);
  const Tensor linear = scaled_noise({8, 4}, 31, 3.0f);
  std::vector<double> cam(16, 0.0);
  for (size_t k = 0; k < 8; ++k)
    for (size_t i = 0; i < 16; ++i) cam[i] += linear.view<float>()[k * 4 + static_cast<size_t>(problem.label)] / 16.0 * a[k * 16 + i];
  for (double& v : cam) v = std::max(0.0, v);
  const SoftMap map = map_of(classifier, problem, "gradcam");
  // Pixel (2y, 2x) of the 8 x 8 map stands a quarter of a cell before cell (y, x): 9/16 of it, 3/16 of those before it, 1/16 of the
  // diagonal one.
  const auto cell = [&](size_t y, size_t x) { return cam[y * 4 + x]; };
  for (size_t y = 1; y < 4; ++y)
    for (size_t x = 1; x < 4; ++x)
      EXPECT_NEAR(map.logits[2 * y * 8 + 2 * x], (9 * cell(y, x) + 3 * cell(y - 1, x) + 3 * cell(y, x - 1) + cell(y - 1, x - 1)) / 16,
                  1e-5);
  EXPECT_EQ(map.logits, map_of(classifier, problem, "gradcam", {{"layer", "late"}}).logits);
  EXPECT_NE(map.logits, map_of(classifier, problem, "gradcam", {{"layer", "early"}}).logits);
  expect_error(ErrorCode::kInvalidArgument, {"'nowhere'"}, [&] { map_of(classifier, problem, "gradcam", {{"layer", "nowhere"}}); });
}

// Where labels are decided one by one, the gradient is the label's that is explained: the map is that of the class in the same net.
TEST(Methods, GradCamFollowsTheLabel) {
  const GraphSource source = conv_classifier(8), labels = [&](int64_t batch, const std::vector<std::string>&keep) {
    Graph g = source(batch, keep);
    g.set_outputs({g.add_node("p", UnaryAttrs{UnaryKind::kSigmoid}, {g.outputs()[0]})});
    return g;
  };
  Classifier classes(cpu(), source);
  const std::vector<float> x = noise_image(classes.shape(), 6);
  for (const int32_t label : {0, 1, 2, 3}) {
    Classifier one(cpu(), labels, Head::kSigmoid, label);
    const std::vector<float> map = map_of(one, problem_for(one, x, 0.0f, {}, 1), "gradcam").logits;
    EXPECT_EQ(map, map_of(classes, problem_for(classes, x, 0.0f, {}, label), "gradcam").logits) << label;
  }
}

TEST(Methods, OptiCamRaisesTheScore) {
  Classifier classifier(cpu(), conv_classifier(8, UnaryKind::kSoftplus));
  const Problem problem = problem_for(classifier, noise_image(classifier.shape(), 8), 0.0f);
  const SoftMap map = map_of(classifier, problem, "opticam", {{"steps", 60}});
  ASSERT_EQ(map.losses[0].values.size(), 60u);
  EXPECT_GT(map.losses[0].values.back(), map.losses[0].values.front());
  EXPECT_EQ(*std::max_element(map.soft.begin(), map.soft.end()), 1.0f);
  EXPECT_EQ(*std::min_element(map.soft.begin(), map.soft.end()), 0.0f);
}

TEST(Methods, RiseFindsThePixelsThatCount) {
  // Logit 0 hangs on the lower right quarter alone.
  const int64_t n = 12;
  std::vector<float> weight(static_cast<size_t>(n * n), 0.0f), x(weight.size(), 1.0f);
  for (int64_t y = n / 2; y < n; ++y)
    for (int64_t i = n / 2; i < n; ++i) weight[static_cast<size_t>(y * n + i)] = 0.2f;
  Classifier classifier(cpu(), linear_classifier(n, n, weight, 3.6f, -5));
  const Problem problem = problem_for(classifier, x, 0.0f, {}, 0);
  const SoftMap map = map_of(classifier, problem, "rise", {{"masks", 300}, {"grid", 4}});
  EXPECT_EQ(map.forward, 300);
  EXPECT_EQ(map.backward, 0);
  double inside = 0, outside = 0;
  for (size_t i = 0; i < map.logits.size(); ++i) (weight[i] > 0 ? inside : outside) += map.logits[i];
  EXPECT_GT(inside / 36, 1.2 * outside / 108);
  EXPECT_EQ(map.logits, map_of(classifier, problem, "rise", {{"masks", 300}, {"grid", 4}}).logits) << "the same seed";
  EXPECT_NE(map.logits, map_of(classifier, problem, "rise", {{"masks", 300}, {"grid", 4}}, 6).logits);
}

TEST(Methods, ControlsKnowNothingOfThePicture) {
  Classifier classifier(cpu(), linear_classifier(4, 5, std::vector<float>(20, 0.1f), 0, -1));
  const Problem a = problem_for(classifier, std::vector<float>(20, 1.0f), 0.0f, {}, 0);
  const Problem b = problem_for(classifier, std::vector<float>(20, -3.0f), 0.0f, {}, 0);
  for (const char* name : {"center", "random"}) {
    EXPECT_EQ(map_of(classifier, a, name).logits, map_of(classifier, b, name).logits);
    EXPECT_EQ(map_of(classifier, a, name).forward, 0);
  }
  const std::vector<float> center = map_of(classifier, a, "center").logits;
  for (size_t i : {0u, 4u, 15u, 19u}) EXPECT_NEAR(center[i], 0.2, 1e-6) << "a corner: 4/5 of the way in x, 3/4 in y";
  EXPECT_NEAR(center[7], 0.75, 1e-6) << "the middle column, a quarter of the height off";
  EXPECT_NE(map_of(classifier, a, "random").logits, map_of(classifier, a, "random", Json::object(), 6).logits);
}

TEST(Methods, AllGiveACheckedMaskByTheSameWay) {
  const GraphSource source = conv_classifier(16);
  Classifier classifier(cpu(), source);
  ExplainInput input;
  input.x = telling_picture(source, 0.0f, 16);
  input.colour.assign(3, 0.0f);
  input.backgrounds.channels = 3;
  input.backgrounds.height = input.backgrounds.width = 16;
  for (int c = 0; c < 3; ++c) input.backgrounds.scale[c] = 0.01, input.backgrounds.offset[c] = -1.2;
  ExplainSettings settings;
  settings.prune.tile = 4;
  Probe probe(source);
  EXPECT_GE(all_methods().size(), 11u);
  for (const MethodInfo& info : all_methods()) {
    SCOPED_TRACE(info.name);
    Explainer explainer(classifier, method(classifier, info.name, quick(info.name)));
    const auto outcome = explainer.explain(input, settings, {});
    const Explanation& e = outcome.instances.at(0);
    EXPECT_TRUE(e.feasible);
    EXPECT_EQ(e.minimal_tile, 4);
    const auto z = probe.logits(blend(input.x, e.mask, colour_image(input)));
    EXPECT_GT(margin_of(z, outcome.label), 0);
    EXPECT_EQ(e.soft.size(), 256u);
    for (float v : e.soft) ASSERT_TRUE(v >= 0 && v <= 1) << v;
    // Asked to stop, they stop.
    int calls = 0;
    expect_error(ErrorCode::kCancelled, {"stopped"},
                 [&] { explainer.explain(input, settings, [&](const ExplainProgress&) { return ++calls < 1; }); });
    EXPECT_EQ(calls, 1);
  }
}

TEST(Methods, TheSameTwiceInARowAndInABatch) {
  Classifier classifier(cpu(), conv_classifier(16));
  const Problem problems[] = {problem_for(classifier, noise_image(classifier.shape(), 1), 0.0f),
                              problem_for(classifier, noise_image(classifier.shape(), 2), 0.0f)};
  for (const MethodInfo& info : all_methods()) {
    SCOPED_TRACE(info.name);
    const auto made = method(classifier, info.name, quick(info.name));
    const auto both = made->run(problems, 3, {});
    const auto second = made->run(std::span(problems).subspan(1), 3, {});
    ASSERT_EQ(both.size(), 2u);
    EXPECT_EQ(both[1].logits, second[0].logits);
    EXPECT_EQ(both[1].forward, second[0].forward);
  }
}

TEST(Methods, TheReadmeNamesAllOfThemAndTheirOptions) {
  const auto bytes = read_file(std::string(ACTMATCH_SOURCE_DIR) + "/engine/methods/README.md");
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  Classifier classifier(cpu(), conv_classifier(16));
  for (const MethodInfo& info : all_methods()) {
    EXPECT_NE(text.find("`" + std::string(info.name) + "`"), std::string::npos) << info.name;
    if (info.name == std::string(kMainMethod)) continue;  // its options stand in engine/explain
    const MadeMethod made = make_method(classifier, {info.name, "test", "its options", quick(info.name)}, false, opener(classifier));
    for (const auto& [key, unused] : made.options.items())
      EXPECT_NE(text.find("`" + key + "`"), std::string::npos) << info.name << ": " << key;
  }
}

TEST(Methods, AmortisedIsWhatTheExplainerSays) {
  Classifier classifier(cpu(), conv_classifier(16));
  const Problem problem = problem_for(classifier, noise_image(classifier.shape(), 1), 0.0f);
  const SoftMap found = map_of(classifier, problem, "amortised", quick("amortised"));
  const Graph graph = opener(classifier)("any.onnx").graph(1);
  const auto program = cpu().compile(graph, {});
  cpu().upload(program->data(graph.inputs()[0]), problem.x.data(), problem.x.size());
  program->forward();
  std::vector<float> wanted(256);
  cpu().download(wanted.data(), program->data(graph.outputs()[0]), wanted.size());
  EXPECT_EQ(found.logits, wanted);
  EXPECT_EQ(found.forward + found.backward, 0) << "the classifier is not asked";
  expect_error(ErrorCode::kFormat, {"'generator'", "actmatch train"}, [&] { method(classifier, "amortised"); });
  expect_error(ErrorCode::kUnsupported, {"amortised"}, [&] {
    make_method(classifier, {"amortised", "test", "options", quick("amortised")}, false);
  });
  // One that takes other pictures.
  Classifier larger(cpu(), conv_classifier(24));
  expect_error(ErrorCode::kInvalidArgument, {"any.onnx", "1x3x24x24", "1x3x16x16"}, [&] {
    make_method(larger, {"amortised", "test", "options", quick("amortised")}, false, opener(classifier));
  });
}

// The mean of the mask is in the trace, as its square, so the rule can be applied again.
TEST(Methods, MarcEndsByItsOwnRule) {
  Classifier classifier(cpu(), conv_classifier(16));
  const Problem problem = problem_for(classifier, noise_image(classifier.shape(), 5), 0.1f);
  const auto steps_by_rule = [](const SoftMap& map, int64_t least, double area, double fall, double average) -> int64_t {
    double before = 0, drop = 0;
    for (size_t t = 0; t < map.losses[2].values.size(); ++t) {
      const double mean = std::sqrt(static_cast<double>(map.losses[2].values[t]));
      if (t > 0) drop = average * drop + (1 - average) * (before - mean);
      before = mean;
      if (static_cast<int64_t>(t) + 1 >= least && mean < area && drop < fall) return static_cast<int64_t>(t) + 1;
    }
    return -1;
  };
  const Json whole{{"steps", 60}, {"radius", 3}, {"least_steps", 60}};
  const SoftMap all = map_of(classifier, problem, "marc", whole);
  ASSERT_EQ(all.steps, 60);
  EXPECT_EQ(all.losses[2].term, "area");
  std::set<int64_t> ends;
  for (const auto& [least, area, fall] : {std::tuple{5, 0.99, 1.0}, {5, 0.99, 2e-3}, {20, 0.99, 1.0}, {5, 0.76, 1.0}}) {
    Json options = whole;
    options["least_steps"] = least, options["stop_area"] = area, options["stop_drop"] = fall, options["stop_average"] = 0.5;
    const int64_t expected = steps_by_rule(all, least, area, fall, 0.5);
    ASSERT_GE(expected, least) << "the rule is not met in 60 steps, so nothing is tested";
    const SoftMap map = map_of(classifier, problem, "marc", options);
    EXPECT_EQ(map.steps, expected) << least << " " << area << " " << fall;
    EXPECT_EQ(map.losses[0].values.size(), static_cast<size_t>(expected));
    ends.insert(expected);
  }
  EXPECT_GE(ends.size(), 3u) << "each part of the rule decides somewhere";
}

TEST(Methods, RecipesAndNames) {
  EXPECT_EQ(load_method_recipe("", "default").method, kMainMethod);
  EXPECT_EQ(load_method_recipe("", "").method, kMainMethod);
  EXPECT_EQ(load_method_recipe("gradcam", "default").options, Json::object());
  const MethodRecipe vit = load_method_recipe("", "marc-vit");
  EXPECT_EQ(vit.method, "marc");
  Classifier classifier(cpu(), conv_classifier(16));
  const MadeMethod made = make_method(classifier, vit, false);
  EXPECT_EQ(made.options["sparsity"], 0.25);
  EXPECT_EQ(made.options["backgrounds"], Json({"blur"}));
  EXPECT_EQ(made.options["tv"], 10.0) << "what the recipe leaves out keeps its default";
  EXPECT_EQ(make_method(classifier, load_method_recipe("", "extremal-quick"), false).options["steps"], 200);
  EXPECT_EQ(make_method(classifier, load_method_recipe("rise", "rise-quick"), false).options["masks"], 1000);
  EXPECT_EQ(make_method(classifier, load_method_recipe("marc", "marc-quick"), false).options["backgrounds"], Json({"mean"}));
  expect_error(ErrorCode::kNotFound, {"'grad'", "gradcam", "smoothgrad"}, [] { load_method_recipe("grad", "default"); });
  expect_error(ErrorCode::kNotFound, {"'nothing'", "paper", "marc-vit"}, [] { load_method_recipe("gradcam", "nothing"); });
  expect_error(ErrorCode::kInvalidArgument, {"marc-vit", "'marc'", "'gradcam'"}, [] { load_method_recipe("gradcam", "marc-vit"); });
  expect_error(ErrorCode::kInvalidArgument, {"paper", "activation-matching"}, [] { load_method_recipe("gradcam", "paper"); });
  expect_error(ErrorCode::kFormat, {"'sample'", "not a key"}, [&] { method(classifier, "smoothgrad", {{"sample", 3}}); });
  expect_error(ErrorCode::kFormat, {"'samples'", "number"}, [&] { method(classifier, "smoothgrad", {{"samples", 0}}); });
  expect_error(ErrorCode::kFormat, {"'score'", "logit, probability"}, [&] { method(classifier, "gradient", {{"score", "p"}}); });
}

}  // namespace
}  // namespace actmatch::test
