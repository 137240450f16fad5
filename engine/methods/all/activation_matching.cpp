// The main method: a mask optimised by activation matching, see engine/explain.
#include "engine/explain/optimise.h"
#include "engine/methods/registry.h"

namespace actmatch {

MethodInfo activation_matching_method() {
  return {kMainMethod, "a mask optimised so that the classifier sees the same in it (arXiv 2509.23051)", false,
          [](Classifier& classifier, JsonReader& options, bool robust) -> std::unique_ptr<Method> {
            options.all_read();  // the recipe checks its keys itself
            return std::make_unique<Optimiser>(classifier, recipe_from_json(options.json().dump(), options.origin(), robust));
          }};
}

}  // namespace actmatch
