#include "engine/explain/recipe.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "engine/image/file.h"
#include "tests/explain/explain_test_util.h"

namespace actmatch::test {
namespace {

using kernels::TapDistance;
using Json = nlohmann::json;

// The message recipe_from_json gives for a text.
std::string refusal(const std::string& text, bool robust = false) {
  const std::string message = error_of([&] { recipe_from_json(text, "my.json", robust); }, ErrorCode::kFormat);
  expect_mentions(message, {"my.json"});
  return message;
}

TEST(Recipe, BuiltInOnesParse) {
  const auto names = recipe_names();
  EXPECT_EQ(names, (std::vector<std::string>{"default", "one-mask", "paper", "ranking"}));
  for (const std::string& name : names)
    for (bool robust : {false, true}) EXPECT_EQ(load_recipe(name, robust).name, name);
}

TEST(Recipe, OneMaskUsesRandomBackgroundsOnlyWhenRobust) {
  const Recipe plain = load_recipe("one-mask", false), robust = load_recipe("one-mask", true);
  EXPECT_EQ(plain.weights.rob, 0);
  EXPECT_EQ(plain.robust_backgrounds, 0);
  EXPECT_GT(robust.weights.rob, 0);
  EXPECT_GE(robust.robust_backgrounds, 1);
  EXPECT_EQ(plain.weights.ce, robust.weights.ce) << "what the override does not name stays";
  EXPECT_EQ(plain.learning_rate, robust.learning_rate);
  EXPECT_NE(plain.steps, robust.steps) << "and what it names changes";
}

TEST(Recipe, LearningRateByGenerator) {
  const std::string text = R"({"name": "x", "generator": {"kind": "csae"}, "learning_rate": {"csae": 0.25, "grid": 2}})";
  Recipe r = recipe_from_json(text, "here", false);
  EXPECT_EQ(r.learning_rate, 0.25);
  r.use_generator(GeneratorKind::kGrid);
  EXPECT_EQ(r.generator.kind, GeneratorKind::kGrid);
  EXPECT_EQ(r.learning_rate, 2);
  r.use_generator(GeneratorKind::kUnet);
  EXPECT_EQ(r.learning_rate, 2) << "none given: as it was";
  const auto refused = [](const char* rates) {
    return error_of([&] { recipe_from_json(std::string(R"({"name": "x", "learning_rate": )") + rates + "}", "here", false); },
                    ErrorCode::kFormat);
  };
  expect_mentions(refused(R"({"unet": 1})"), {"here", "learning_rate", "own generator"});
  expect_mentions(refused(R"({"grid": 1, "csae": 1, "gird": 1})"), {"here", "learning_rate.gird"});
}

TEST(Recipe, MistakesInRobustAreFoundInPlainRunsToo) {
  for (bool robust : {false, true})
    expect_mentions(error_of([&] { recipe_from_json(R"({"name": "x", "robust": {"stpes": 3}})", "here", robust); }, ErrorCode::kFormat),
                    {"here", "stpes"});
}

TEST(Recipe, PaperHasThePublishedValues) {
  const Recipe r = load_recipe("paper", false);  // arXiv 2509.23051, the ResNet-18 run
  EXPECT_EQ(r.generator.kind, GeneratorKind::kUnet);
  EXPECT_EQ(r.steps, 880);
  EXPECT_DOUBLE_EQ(r.learning_rate, 5e-5);
  EXPECT_DOUBLE_EQ(r.beta1, 0.9);
  EXPECT_DOUBLE_EQ(r.beta2, 0.999);
  const LossWeights& w = r.weights;
  EXPECT_EQ(std::vector<double>({w.act, w.ce, w.kl, w.area, w.bin, w.tv, w.rob, w.nec, w.margin}),
            std::vector<double>({10, 15, 5, 100, 1, 500, 100, 0, 0}));
  EXPECT_EQ(r.kl_temperature, 2);
  EXPECT_EQ(r.tv_neighbours, 8);
  EXPECT_EQ(r.necessity_margin, 1);
  EXPECT_EQ(r.robust_form, RobustForm::kCrossEntropy);
  EXPECT_EQ(r.robust_backgrounds, 1);
  EXPECT_EQ(r.taps.limit, 5);
  EXPECT_EQ(r.taps.weights, (std::vector<double>{1, 2, 2, 4, 8}));
  EXPECT_EQ(r.taps.distances, (std::vector<TapDistance>{TapDistance::kCosine, TapDistance::kCosine, TapDistance::kStandardisedMse}));
  EXPECT_FALSE(r.area.enabled);
  EXPECT_EQ(r.soft_until, 0);
  EXPECT_EQ(r.smooth_start, 0);
  EXPECT_EQ(r.smooth_end, 0);
}

TEST(Recipe, EveryKeyIsReadIntoItsField) {
  const Recipe r = recipe_from_json(R"({
    "about": "x", "name": "all", "steps": 7, "learning_rate": 0.25, "beta1": 0.5, "beta2": 0.75, "kl_temperature": 3, "margin": -2,
    "tv_neighbours": 4, "robust_form": "margin", "robust_backgrounds": 6, "robust_blur": 11, "necessity_form": "log", "necessity_margin": 1.5,
    "soft_until": 0.125, "smooth_start": 9, "smooth_end": 2,
    "generator": {"kind": "csae", "cell": 5, "smooth": false, "initial_logit": 0.75},
    "taps": {"limit": 3, "names": ["a", "b"], "distances": ["kl", "kl-positions", "cosine", "mse", "standardised-mse"], "weights": [1, 0]},
    "weights": {"act": 1, "kl": 2, "ce": 3, "margin": 4, "area": 5, "bin": 6, "tv": 7, "rob": 8, "nec": 9},
    "area_schedule": {"enabled": false, "start": 0.9, "end": 0.1, "ranking": 0.7, "until": 0.2, "shrink": 0.5, "grow": 2, "keep": 0.3, "temperature": 4}
  })",
                                    "all", false);
  EXPECT_EQ(r.name, "all");
  EXPECT_EQ(r.steps, 7);
  EXPECT_EQ(std::vector<double>({r.learning_rate, r.beta1, r.beta2, r.kl_temperature, r.margin, r.necessity_margin, r.soft_until,
                                 r.smooth_start, r.smooth_end, r.robust_blur}),
            std::vector<double>({0.25, 0.5, 0.75, 3, -2, 1.5, 0.125, 9, 2, 11}));
  EXPECT_EQ(r.tv_neighbours, 4);
  EXPECT_EQ(r.robust_form, RobustForm::kMargin);
  EXPECT_EQ(r.robust_backgrounds, 6);
  EXPECT_EQ(r.necessity_form, NecessityForm::kLog);
  EXPECT_EQ(r.generator.kind, GeneratorKind::kCsae);
  EXPECT_EQ(r.generator.cell, 5);
  EXPECT_FALSE(r.generator.smooth);
  EXPECT_EQ(r.generator.initial_logit, 0.75f);
  EXPECT_EQ(r.taps.limit, 3);
  EXPECT_EQ(r.taps.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(r.taps.distances, (std::vector<TapDistance>{TapDistance::kKlChannels, TapDistance::kKlPositions, TapDistance::kCosine,
                                                        TapDistance::kMse, TapDistance::kStandardisedMse}));
  EXPECT_EQ(r.taps.weights, (std::vector<double>{1, 0}));
  const LossWeights& w = r.weights;
  EXPECT_EQ(std::vector<double>({w.act, w.kl, w.ce, w.margin, w.area, w.bin, w.tv, w.rob, w.nec}),
            std::vector<double>({1, 2, 3, 4, 5, 6, 7, 8, 9}));
  const AreaSchedule& a = r.area;
  EXPECT_EQ(std::vector<double>({a.start, a.end, a.ranking, a.until, a.shrink, a.grow, a.keep, a.temperature}),
            std::vector<double>({0.9, 0.1, 0.7, 0.2, 0.5, 2, 0.3, 4}));
  EXPECT_FALSE(r.area.enabled);
  for (const char* name : {"kl", "kl-positions", "cosine", "mse", "standardised-mse"}) EXPECT_STREQ(name_of(tap_distance_kind(name)), name);
  expect_mentions(error_of([] { tap_distance_kind("l1"); }), {"l1", "standardised-mse"});
}

TEST(Recipe, RobustOverridesAreMergedOnlyWithRobust) {
  const std::string text = R"({"name": "r", "steps": 10, "weights": {"ce": 1, "area": 2},
    "robust": {"steps": 20, "robust_backgrounds": 3, "weights": {"rob": 4, "area": 5}}})";
  const Recipe plain = recipe_from_json(text, "r", false), robust = recipe_from_json(text, "r", true);
  EXPECT_EQ(plain.steps, 10);
  EXPECT_EQ(plain.weights.rob, 0);
  EXPECT_EQ(plain.weights.area, 2);
  EXPECT_EQ(robust.steps, 20);
  EXPECT_EQ(robust.robust_backgrounds, 3);
  EXPECT_EQ(robust.weights.rob, 4);
  EXPECT_EQ(robust.weights.area, 5);
  EXPECT_EQ(robust.weights.ce, 1);
}

TEST(Recipe, UnknownKeysAreRefusedByName) {
  expect_mentions(refusal(R"({"name": "x", "stepz": 3})"), {"'stepz'"});
  expect_mentions(refusal(R"({"name": "x", "weights": {"core": 3}})"), {"'weights.core'"});
  expect_mentions(refusal(R"({"name": "x", "generator": {"width": 3}})"), {"'generator.width'"});
  expect_mentions(refusal(R"({"name": "x", "taps": {"layers": []}})"), {"'taps.layers'"});
  expect_mentions(refusal(R"({"name": "x", "area_schedule": {"stop": 1}})"), {"'area_schedule.stop'"});
  expect_mentions(refusal(R"({"name": "x", "robust": {"stepz": 3}})", true), {"'stepz'"});
}

TEST(Recipe, WrongTypesAreRefusedByName) {
  expect_mentions(refusal(R"({"name": 3})"), {"'name'", "string"});
  expect_mentions(refusal(R"({"name": "x", "steps": "many"})"), {"'steps'", "number"});
  expect_mentions(refusal(R"({"name": "x", "steps": 2.5})"), {"'steps'", "whole"});
  expect_mentions(refusal(R"({"name": "x", "generator": {"smooth": 1}})"), {"'generator.smooth'", "true or false"});
  expect_mentions(refusal(R"({"name": "x", "generator": 1})"), {"'generator'", "object"});
  expect_mentions(refusal(R"({"name": "x", "weights": []})"), {"'weights'", "object"});
  expect_mentions(refusal(R"({"name": "x", "weights": {"ce": null}})"), {"'weights.ce'"});
  expect_mentions(refusal(R"({"name": "x", "robust_form": 1})"), {"'robust_form'"});
  expect_mentions(refusal(R"({"name": "x", "taps": {"names": "a"}})"), {"'taps.names'"});
  expect_mentions(refusal(R"({"name": "x", "taps": {"names": [1]}})"), {"'taps.names'"});
  expect_mentions(refusal(R"({"name": "x", "taps": {"distances": "mse"}})"), {"'taps.distances'"});
  expect_mentions(refusal(R"({"name": "x", "taps": {"distances": [1]}})"), {"'taps.distances'"});
  expect_mentions(refusal(R"({"name": "x", "taps": {"weights": ["1"]}})"), {"'taps.weights'"});
  expect_mentions(refusal(R"({"name": "x", "robust": 5})"), {"'robust'", "object"});
  expect_mentions(refusal(R"({"name": "x", "robust": 5})", true), {"'robust'", "object"});
  expect_mentions(refusal("[]"), {"object"});
}

TEST(Recipe, ValuesOutOfRangeAreRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> cases{{"steps", "-1"},
                                                               {"steps", "1e9"},
                                                               {"learning_rate", "-0.1"},
                                                               {"beta1", "1"},
                                                               {"beta2", "1"},
                                                               {"kl_temperature", "0"},
                                                               {"tv_neighbours", "6"},
                                                               {"tv_neighbours", "3"},
                                                               {"robust_form", "\"hinge\""},
                                                               {"necessity_form", "\"ce\""},
                                                               {"robust_backgrounds", "257"},
                                                               {"soft_until", "1.5"},
                                                               {"smooth_start", "-1"},
                                                               {"generator", "{\"kind\": \"vae\"}"},
                                                               {"generator", "{\"cell\": 0}"},
                                                               {"taps", "{\"limit\": 0}"},
                                                               {"taps", "{\"distances\": [\"l1\"]}"},
                                                               {"taps", "{\"distances\": []}"},
                                                               {"taps", "{\"weights\": [-1]}"},
                                                               {"taps", "{\"weights\": []}"},
                                                               {"weights", "{\"ce\": -1}"},
                                                               {"area_schedule", "{\"start\": 0}"},
                                                               {"area_schedule", "{\"end\": 1.1}"},
                                                               {"area_schedule", "{\"shrink\": 1.1}"},
                                                               {"area_schedule", "{\"grow\": 0.9}"},
                                                               {"area_schedule", "{\"temperature\": 0}"}};
  for (const auto& [key, value] : cases) {
    std::string named = key;  // "taps.limit" where the value is an object
    if (value[0] == '{') named += "." + Json::parse(value).begin().key();
    expect_mentions(refusal("{\"name\": \"x\", \"" + key + "\": " + value + "}"), {"'" + named + "'"});
  }
}

TEST(Recipe, RobustTermNeedsBackgrounds) {
  expect_mentions(refusal(R"({"name": "x", "weights": {"rob": 1}})"), {"'weights.rob'", "robust_backgrounds"});
}

TEST(Recipe, BadJsonIsRefused) {
  expect_mentions(refusal("{\"name\": "), {"JSON", "byte"});
  expect_mentions(refusal(""), {"JSON"});
  expect_mentions(refusal("{\"name\": \"\xff\"}"), {"JSON"});
  refusal(R"({"name": "x", "learning_rate": 1e999})");
  expect_mentions(refusal("{}"), {"'name'", "missing"});
  EXPECT_EQ(recipe_from_json("{\"name\": \"x\" /* comments are fine */}", "", false).name, "x");
}

TEST(Recipe, NamesAndPaths) {
  expect_mentions(error_of([] { load_recipe("fast", false); }, ErrorCode::kNotFound), {"'fast'", "default", "paper"});
  expect_mentions(error_of([] { load_recipe("no/such/file.json", false); }, ErrorCode::kNotFound), {"no/such/file.json"});
  const std::string path = ::testing::TempDir() + "/actmatch_recipe_test.json";
  write_file_atomically(path, std::string_view(R"({"name": "mine", "steps": 3})"));
  EXPECT_EQ(load_recipe(path, false).steps, 3);
  write_file_atomically(path, std::string_view(R"({"name": "mine", "steps": -3})"));
  expect_mentions(error_of([&] { load_recipe(path, false); }, ErrorCode::kFormat), {path, "'steps'"});
  std::remove(path.c_str());
}

}  // namespace
}  // namespace actmatch::test
