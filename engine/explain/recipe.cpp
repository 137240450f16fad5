#include "engine/explain/recipe.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "engine/explain/json_reader.h"
#include "engine/explain/recipes.h"
#include "engine/image/file.h"

namespace actmatch {

namespace {

using Json = nlohmann::json;

const std::map<std::string, GeneratorKind> kGenerators{
    {"csae", GeneratorKind::kCsae}, {"unet", GeneratorKind::kUnet}, {"grid", GeneratorKind::kGrid}};
const std::map<std::string, kernels::TapDistance> kDistances{{"kl", kernels::TapDistance::kKlChannels},
                                                             {"kl-positions", kernels::TapDistance::kKlPositions},
                                                             {"cosine", kernels::TapDistance::kCosine},
                                                             {"mse", kernels::TapDistance::kMse},
                                                             {"standardised-mse", kernels::TapDistance::kStandardisedMse}};

constexpr double kBig = 1e6;

void read_generator(const Json& json, const std::string& origin, GeneratorSpec& g) {
  JsonReader r(json, origin, "generator");
  r.choice("kind", g.kind, kGenerators);
  r.number("cell", g.cell, 1, 1024);
  r.boolean("smooth", g.smooth);
  r.number("initial_logit", g.initial_logit, -kBig, kBig);
  r.text("start", g.start);
  r.number("start_spread", g.start_spread, 0, kBig);
  r.finish();
  if (!g.start.empty() && g.kind != GeneratorKind::kGrid) r.fail("'generator.start'", "is for the kind 'grid' only");
}

void read_taps(const Json& json, const std::string& origin, TapRecipe& taps) {
  JsonReader r(json, origin, "taps");
  r.number("limit", taps.limit, 1, 64);
  if (const Json* names = r.child("names")) {
    if (!names->is_array()) r.fail("'taps.names'", "must be a list of value names");
    taps.names.clear();
    for (const Json& n : *names) {
      if (!n.is_string()) r.fail("'taps.names'", "must be a list of value names");
      taps.names.push_back(n.get<std::string>());
    }
  }
  if (const Json* distances = r.child("distances")) {
    if (!distances->is_array() || distances->empty()) r.fail("'taps.distances'", "must be a list of distances");
    taps.distances.clear();
    for (const Json& d : *distances)
      taps.distances.push_back(r.pick("distances", d.is_string() ? d.get<std::string>() : d.dump(), kDistances));
  }
  if (const Json* weights = r.child("weights")) {
    if (!weights->is_array() || weights->empty()) r.fail("'taps.weights'", "must be a list of numbers");
    taps.weights.clear();
    for (const Json& w : *weights) {
      if (!w.is_number() || w.get<double>() < 0) r.fail("'taps.weights'", "must be a list of numbers, none negative");
      taps.weights.push_back(w.get<double>());
    }
  }
  r.finish();
}

void read_weights(const Json& json, const std::string& origin, LossWeights& w) {
  JsonReader r(json, origin, "weights");
  for (auto [key, value] : {std::pair{"act", &w.act},
                            {"kl", &w.kl},
                            {"ce", &w.ce},
                            {"margin", &w.margin},
                            {"area", &w.area},
                            {"bin", &w.bin},
                            {"tv", &w.tv},
                            {"rob", &w.rob},
                            {"nec", &w.nec}})
    r.number(key, *value, 0, kBig);
  r.finish();
}

void read_area(const Json& json, const std::string& origin, AreaSchedule& a) {
  JsonReader r(json, origin, "area_schedule");
  r.boolean("enabled", a.enabled);
  r.number("start", a.start, 1e-6, 1);
  r.number("end", a.end, 1e-6, 1);
  r.number("ranking", a.ranking, 0, 1);
  r.number("until", a.until, 0, 1);
  r.number("shrink", a.shrink, 0.01, 1);
  r.number("grow", a.grow, 1, 100);
  r.number("keep", a.keep, 0, 1);
  r.number("temperature", a.temperature, 1e-6, kBig);
  r.finish();
}

}  // namespace

kernels::TapDistance tap_distance_kind(const std::string& name) {
  const auto it = kDistances.find(name);
  if (it != kDistances.end()) return it->second;
  throw Error(ErrorCode::kInvalidArgument, "there is no distance '" + name + "'; use kl, kl-positions, cosine, mse or standardised-mse");
}

const char* name_of(kernels::TapDistance kind) {
  for (const auto& [name, k] : kDistances)
    if (k == kind) return name.c_str();
  return "?";
}

void Recipe::use_generator(GeneratorKind kind) {
  generator.kind = kind;
  if (kind != GeneratorKind::kGrid) generator.start.clear();  // only a grid can be set to a map
  if (const auto it = learning_rates.find(kind); it != learning_rates.end()) learning_rate = it->second;
}

namespace {

// An object of rates by generator; there must be one for the recipe's own.
void read_learning_rates(const Json& json, const std::string& origin, Recipe& recipe) {
  JsonReader r(json, origin, "learning_rate");
  for (const auto& [name, kind] : kGenerators) {
    double rate = -1;
    r.number(name.c_str(), rate, 0, kBig);
    if (rate >= 0) recipe.learning_rates[kind] = rate;
  }
  r.finish();
  if (!recipe.learning_rates.count(recipe.generator.kind)) r.fail("'learning_rate'", "has no rate for the recipe's own generator");
  recipe.use_generator(recipe.generator.kind);
}

Recipe read_recipe(const Json& json, const std::string& origin) {
  Recipe recipe;
  recipe.taps.distances = {kernels::TapDistance::kCosine};
  recipe.taps.weights = {1.0};
  JsonReader r(json, origin, "");
  std::string about, method;
  r.text("about", about);
  r.text("method", method);
  if (!method.empty() && method != "activation-matching") r.fail("'method'", "is '" + method + "': this is a recipe of another method");
  r.text("name", recipe.name);
  if (recipe.name.empty()) r.fail("'name'", "is missing");
  r.number("steps", recipe.steps, 0, 1000000);
  r.number("beta1", recipe.beta1, 0, 0.999999);
  r.number("beta2", recipe.beta2, 0, 0.999999);
  r.number("kl_temperature", recipe.kl_temperature, 1e-3, 1e3);
  r.number("margin", recipe.margin, -kBig, kBig);
  int64_t neighbours = recipe.tv_neighbours;
  r.number("tv_neighbours", neighbours, 4, 8);
  if (neighbours != 4 && neighbours != 8) r.fail("'tv_neighbours'", "must be 4 or 8");
  recipe.tv_neighbours = static_cast<int>(neighbours);
  r.choice("robust_form", recipe.robust_form,
           std::map<std::string, RobustForm>{{"ce", RobustForm::kCrossEntropy}, {"kl", RobustForm::kKl}, {"margin", RobustForm::kMargin}});
  r.number("robust_backgrounds", recipe.robust_backgrounds, 0, 256);
  r.number("robust_blur", recipe.robust_blur, 0, 256);
  r.choice("necessity_form", recipe.necessity_form,
           std::map<std::string, NecessityForm>{{"hinge", NecessityForm::kHinge}, {"log", NecessityForm::kLog}});
  r.number("necessity_margin", recipe.necessity_margin, -kBig, kBig);
  r.number("soft_until", recipe.soft_until, 0, 1);
  r.number("smooth_start", recipe.smooth_start, 0, 256);
  r.number("smooth_end", recipe.smooth_end, 0, 256);
  if (const Json* j = r.child("generator")) read_generator(*j, origin, recipe.generator);
  if (const Json* j = r.child("taps")) read_taps(*j, origin, recipe.taps);
  if (const Json* j = r.child("weights")) read_weights(*j, origin, recipe.weights);
  if (const Json* j = r.child("area_schedule")) read_area(*j, origin, recipe.area);
  if (const Json* j = r.child("learning_rate"); j && j->is_object())
    read_learning_rates(*j, origin, recipe);
  else
    r.number("learning_rate", recipe.learning_rate, 0, kBig);
  r.finish();
  if (recipe.weights.rob > 0 && recipe.robust_backgrounds == 0 && recipe.robust_blur == 0)
    r.fail("'weights.rob'", "needs 'robust_backgrounds' of at least 1, or a 'robust_blur'");
  return recipe;
}

}  // namespace

Recipe recipe_from_json(const std::string& text, const std::string& origin, bool robust) {
  Json json = parse_recipe(text, origin);
  if (json.is_object() && json.contains("robust")) {
    const Json overrides = json["robust"];
    if (!overrides.is_object()) throw Error(ErrorCode::kFormat, origin + ": 'robust' must be an object {...}");
    json.erase("robust");
    Json merged = json;
    merged.merge_patch(overrides);
    const Recipe with_overrides = read_recipe(merged, origin);  // read in either case: a misspelt key must not wait for a robust run
    if (robust) return with_overrides;
  }
  return read_recipe(json, origin);
}

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const auto& [name, text] : kBuiltInRecipes) names.emplace_back(name);
  return names;
}

std::string built_in_recipe(const std::string& wanted) {
  for (const auto& [name, text] : kBuiltInRecipes)
    if (name == wanted) return text;
  return {};
}

Recipe load_recipe(const std::string& name_or_path, bool robust) {
  if (const std::string text = built_in_recipe(name_or_path); !text.empty())
    return recipe_from_json(text, "recipe '" + name_or_path + "'", robust);
  const bool looks_like_path = name_or_path.find('/') != std::string::npos || name_or_path.ends_with(".json");
  if (!looks_like_path) {
    std::string list;
    for (const std::string& name : recipe_names()) list += (list.empty() ? "" : ", ") + name;
    throw Error(ErrorCode::kNotFound, "there is no recipe '" + name_or_path + "'; use " + list + " or the path of a .json file");
  }
  const auto bytes = read_file(name_or_path);
  return recipe_from_json(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), name_or_path, robust);
}

}  // namespace actmatch
