// A recipe: everything that decides how a mask is optimised, apart from the model and the picture. Kept as JSON; the built-in ones lie in
// engine/explain/recipes/. Formulas: README.md of this folder.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/explain/generator.h"
#include "kernels/tap_distance.h"

namespace actmatch {

// How the hard mask's area is steered. With a schedule the hard mask is exactly the top fraction a(t) of the logits and the soft mask
// sigmoid((s - quantile)/temperature); without one it is s > 0 and sigmoid(s), and the area loss has to do the work.
struct AreaSchedule {
  bool enabled = true;
  double start = 1.0;        // fraction of the pixels at the first step
  double end = 0.03;         // where the geometric fall ends
  double until = 0.6;        // share of the steps the fall (and that of smooth_*) takes; afterwards the area follows the label:
  double shrink = 0.97;      //   times this while the label holds,
  double grow = 1.03;        //   times this while it does not
  double keep = 0.95;        // the label counts as held while p_y(e) >= keep * p_y(x)
  double temperature = 0.5;  // of the soft mask, in logits
  double ranking = 0.0;      // share of the fall's steps in which areas between `start` and `end` take turns instead
};

enum class RobustForm { kCrossEntropy, kKl, kMargin };
enum class NecessityForm { kHinge, kLog };

struct LossWeights {  // 0 switches a term off
  double act = 0, kl = 0, ce = 0, margin = 0, area = 0, bin = 0, tv = 0, rob = 0, nec = 0;
};

struct TapRecipe {
  std::vector<std::string> names;               // empty: chosen automatically
  std::vector<kernels::TapDistance> distances;  // by tap; the last one serves the rest
  std::vector<double> weights;                  // alpha_l by tap, likewise
  int64_t limit = 5;                            // of the automatic choice
};

struct Recipe {
  std::string name;
  GeneratorSpec generator;
  int64_t steps = 300;
  std::map<GeneratorKind, double> learning_rates;  // by generator, where they differ: a grid takes far longer steps than a net
  double learning_rate = 0.1, beta1 = 0.9, beta2 = 0.999;
  LossWeights weights;
  TapRecipe taps;
  AreaSchedule area;
  double kl_temperature = 2.0;
  double margin = 1.0;  // of the logit-margin hinge
  int tv_neighbours = 8;
  RobustForm robust_form = RobustForm::kCrossEntropy;
  int64_t robust_backgrounds = 0;  // random backgrounds a step
  double robust_blur = 0.0;        // and, above 0, the picture itself under a Gaussian of so many pixels
  NecessityForm necessity_form = NecessityForm::kHinge;
  double necessity_margin = 1.0;
  double soft_until = 0.0;    // share of the steps in which the soft mask itself is composed; straight-through after it
  double smooth_start = 0.0;  // Gaussian smoothing of the mask's gradient, sigma in pixels, falling linearly ...
  double smooth_end = 0.0;    // ... to this at area.until

  // Changes the generator, and the learning rate with it where `learning_rates` has one for that kind.
  void use_generator(GeneratorKind kind);
};

// "default", another built-in recipe (recipes/), or the path of a JSON file. `robust`: the recipe's "robust" object is merged over it.
// Throws kNotFound for an unknown name (listing the names), kFormat naming the key that is wrong.
Recipe load_recipe(const std::string& name_or_path, bool robust);
Recipe recipe_from_json(const std::string& text, const std::string& origin, bool robust);
std::vector<std::string> recipe_names();
std::string built_in_recipe(const std::string& name);  // its JSON text

kernels::TapDistance tap_distance_kind(const std::string& name);
const char* name_of(kernels::TapDistance kind);

}  // namespace actmatch
