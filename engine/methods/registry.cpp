#include "engine/methods/registry.h"

#include <algorithm>
#include <array>

#include "engine/explain/recipe.h"
#include "engine/image/file.h"
#include "engine/methods/list.h"

namespace actmatch {

namespace {

const auto& sorted_methods() {
  static const auto list = [] {
    auto methods = std::to_array<MethodInfo>({ACTMATCH_METHODS});
    std::sort(methods.begin(), methods.end(), [](const MethodInfo& a, const MethodInfo& b) { return std::string(a.name) < b.name; });
    return methods;
  }();
  return list;
}

std::string built_in_text(const std::string& name) {
  for (const auto& [built_in, text] : kBuiltInMethodRecipes)
    if (name == built_in) return text;
  return built_in_recipe(name);
}

std::string known_recipes() {
  std::string list;
  for (const std::string& name : recipe_names()) list += name + ", ";
  for (const auto& [name, text] : kBuiltInMethodRecipes) list += std::string(name) + ", ";
  return list;
}

}  // namespace

std::span<const MethodInfo> all_methods() { return sorted_methods(); }

std::string method_names() {
  std::string list;
  for (const MethodInfo& m : all_methods()) list += (list.empty() ? "" : ", ") + std::string(m.name);
  return list;
}

const MethodInfo& find_method(const std::string& name) {
  for (const MethodInfo& m : all_methods())
    if (name == m.name) return m;
  throw Error(ErrorCode::kNotFound, "there is no method '" + name + "'; choose one of " + method_names());
}

MethodRecipe load_method_recipe(const std::string& method, const std::string& recipe) {
  if (!method.empty()) find_method(method);
  MethodRecipe chosen{method, recipe.empty() ? "default" : recipe, "recipe '" + recipe + "'", nlohmann::json::object()};
  const bool other = !method.empty() && method != kMainMethod;
  if (chosen.name == "default" && other) return chosen;  // every method's defaults
  std::string text = built_in_text(chosen.name);
  if (text.empty()) {
    if (chosen.name.find('/') == std::string::npos && !chosen.name.ends_with(".json"))
      throw Error(ErrorCode::kNotFound, "there is no recipe '" + recipe + "'; use " + known_recipes() + "or the path of a .json file");
    const auto bytes = read_file(chosen.name);
    text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    chosen.origin = chosen.name;
  }
  chosen.options = parse_recipe(text, chosen.origin);
  if (!chosen.options.is_object()) throw Error(ErrorCode::kFormat, chosen.origin + ": the recipe must be an object {...}");
  if (const auto it = chosen.options.find("name"); it != chosen.options.end() && it->is_string()) chosen.name = it->get<std::string>();
  const auto it = chosen.options.find("method");
  const std::string of = it != chosen.options.end() && it->is_string() ? it->get<std::string>() : "";
  if (chosen.method.empty()) chosen.method = of.empty() ? kMainMethod : of;
  find_method(chosen.method);
  const std::string belongs = of.empty() && !built_in_recipe(recipe).empty() ? kMainMethod : of;
  if (!belongs.empty() && belongs != chosen.method)
    throw Error(ErrorCode::kInvalidArgument, chosen.origin + " is for the method '" + belongs + "', not for '" + chosen.method + "'");
  return chosen;
}

MadeMethod make_method(Classifier& classifier, const MethodRecipe& recipe, bool robust, const ExplainerOpener& open) {
  JsonReader options(recipe.options, recipe.origin, "");
  MadeMethod made;
  const MethodInfo& info = find_method(recipe.method);
  if (info.make_trained && !open)
    throw Error(ErrorCode::kUnsupported, "the method '" + recipe.method + "' needs a trained explainer, and nothing here opens its file");
  made.method = info.make_trained ? info.make_trained(classifier, options, open) : info.make(classifier, options, robust);
  made.options = recipe.method == kMainMethod ? recipe.options : options.settled();
  std::string about, name, method;
  options.text("about", about);
  options.text("name", name);
  options.text("method", method);
  options.finish();
  return made;
}

}  // namespace actmatch
