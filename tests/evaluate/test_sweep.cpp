#include "engine/evaluate/sweep.h"

#include <gtest/gtest.h>

#include "engine/explain/recipe.h"
#include "tests/support/expect_error.h"

namespace actmatch {
namespace {

TEST(Sweep, OneFieldAtATimeAndAllCombinations) {
  const Sweep sweep = parse_sweep(
      R"({"recipe": "paper", "each": {"weights.act": [0, 2]}, "grid": {"steps": [10, 20], "generator.kind": ["grid"]}, "seeds": [3, 4]})",
      "s");
  EXPECT_EQ(sweep.recipe, "paper");
  EXPECT_EQ(sweep.method, "activation-matching");
  std::vector<std::string> names;
  for (const Variant& v : sweep.variants) names.push_back(v.name);
  EXPECT_EQ(names, (std::vector<std::string>{"", "weights.act=0", "weights.act=2", "steps=10, generator.kind=grid",
                                             "steps=20, generator.kind=grid"}));
  EXPECT_EQ(sweep.seeds, (std::vector<uint64_t>{3, 4}));
  EXPECT_EQ(parse_sweep("{}", "s").variants.size(), 1u);
}

TEST(Sweep, ChangesReachTheRecipe) {
  const Sweep sweep = parse_sweep(R"({"grid": {"weights.act": [0], "steps": [7]}})", "s");
  const Recipe before = recipe_from_json(built_in_recipe("one-mask"), "one-mask", false);
  const Recipe after = recipe_from_json(apply_changes(built_in_recipe("one-mask"), sweep.variants[1]), "variant", false);
  EXPECT_NE(before.weights.act, 0);
  EXPECT_EQ(after.weights.act, 0);
  EXPECT_EQ(after.steps, 7);
  EXPECT_EQ(after.weights.kl, before.weights.kl);
}

TEST(Sweep, MistakesAreNamed) {
  using test::expect_error;
  const auto parsing = [](const char* text) { return [text] { parse_sweep(text, "s.json"); }; };
  expect_error(ErrorCode::kFormat, {"'s.json'", "byte"}, parsing("{"));
  expect_error(ErrorCode::kFormat, {"object"}, parsing("[]"));
  expect_error(ErrorCode::kFormat, {"no key 'grids'"}, parsing(R"({"grids": {}})"));
  expect_error(ErrorCode::kFormat, {"grid.steps", "list"}, parsing(R"({"grid": {"steps": 3}})"));
  expect_error(ErrorCode::kFormat, {"each.steps", "list"}, parsing(R"({"each": {"steps": []}})"));
  expect_error(ErrorCode::kFormat, {"'grid' must be an object"}, parsing(R"({"grid": [1]})"));
  expect_error(ErrorCode::kFormat, {"seeds"}, parsing(R"({"seeds": [-1]})"));
  expect_error(ErrorCode::kFormat, {"'recipe' must be a string"}, parsing(R"({"recipe": 3})"));
  std::string wide = R"({"grid": {)";
  for (char c = 'a'; c < 'f'; ++c) wide += std::string(c == 'a' ? "" : ", ") + "\"" + c + R"(": [1,2,3,4,5,6,7,8,9,10])";
  expect_error(ErrorCode::kFormat, {"more than 10000"}, [&] { parse_sweep(wide + "}}", "s.json"); });
  // A field that is none is found by the recipe's own reader; one that leads through a number is found before.
  const Sweep odd = parse_sweep(R"({"each": {"steps.more": [1], "weights.nonsense": [1]}})", "s");
  expect_error(ErrorCode::kFormat, {"steps.more", "'steps'"}, [&] { apply_changes(built_in_recipe("one-mask"), odd.variants[1]); });
  expect_error(ErrorCode::kFormat, {"nonsense"},
               [&] { recipe_from_json(apply_changes(built_in_recipe("one-mask"), odd.variants[2]), "variant", false); });
}

}  // namespace
}  // namespace actmatch
