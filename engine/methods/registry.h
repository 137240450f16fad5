// The methods by name. Each is one file of engine/methods/all, which says everything there is to say about it; the build makes the list of
// them. A method's options come as JSON, from a recipe; what a recipe leaves out keeps the default that the method's file names.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "engine/amortise/explainer_net.h"
#include "engine/explain/json_reader.h"
#include "engine/explain/method.h"

namespace actmatch {

inline constexpr const char* kMainMethod = "activation-matching";

struct MethodInfo {
  const char* name;
  const char* about;  // one line, for people
  // Run again with the same options and seed it gives the same map up to rounding: its map is a claim that can be checked. An optimisation
  // amplifies rounding from step to step and is not.
  bool repeatable;
  // Reads its options; the caller sees that nothing is left over.
  std::unique_ptr<Method> (*make)(Classifier& classifier, JsonReader& options, bool robust);
  // In its place for a method that needs a trained explainer, whose file its options name.
  std::unique_ptr<Method> (*make_trained)(Classifier& classifier, JsonReader& options, const ExplainerOpener& open) = nullptr;
};

std::span<const MethodInfo> all_methods();               // by name
const MethodInfo& find_method(const std::string& name);  // throws kNotFound, listing them
std::string method_names();                              // "activation-matching, center, ..."

// Which method, with which options.
struct MethodRecipe {
  std::string method, name, origin;
  nlohmann::json options;  // the recipe as it is written
};
// `method` empty: the recipe's, or activation matching. `recipe`: "default", a built-in one, or the path of a JSON file. Throws kNotFound
// for unknown names, kInvalidArgument where the two do not go together.
MethodRecipe load_method_recipe(const std::string& method, const std::string& recipe);

struct MadeMethod {
  std::unique_ptr<Method> method;
  nlohmann::json options;  // what was settled, defaults included
};
// `open`: for methods that need a trained explainer.
MadeMethod make_method(Classifier& classifier, const MethodRecipe& recipe, bool robust, const ExplainerOpener& open = {});

}  // namespace actmatch
