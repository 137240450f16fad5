// A recipe with everything on, and how the masks it makes are compared.
#pragma once

#include <nlohmann/json.hpp>

#include "tests/explain/objective_bench.h"

namespace actmatch::test {

inline nlohmann::json busy_recipe(const std::string& generator) {
  nlohmann::json json = nlohmann::json::parse(R"({"name": "busy", "steps": 9, "learning_rate": 0.1,
    "generator": {"kind": "grid", "cell": 3, "smooth": true},
    "taps": {"names": ["early", "late"], "distances": ["mse", "cosine"], "weights": [1, 2]},
    "weights": {"act": 1, "kl": 1, "ce": 1, "margin": 1, "area": 1, "bin": 1, "tv": 1, "rob": 1, "nec": 1},
    "margin": 20, "robust_form": "margin", "robust_backgrounds": 2, "necessity_margin": 20, "soft_until": 0.3,
    "smooth_start": 4, "smooth_end": 0.1,
    "area_schedule": {"start": 0.7, "end": 0.3, "until": 0.5, "shrink": 0.8, "grow": 1.2, "keep": 0.6, "temperature": 0.4}})");
  if (generator != "grid") json["generator"] = {{"kind", generator}}, json["learning_rate"] = 0.002;
  return json;
}
inline Recipe busy(const std::string& generator = "grid") { return recipe_from_json(busy_recipe(generator).dump(), "test", false); }

inline void expect_same(const OptimisedMask& got, const OptimisedMask& want, const std::string& what) {
  EXPECT_EQ(got.logits, want.logits) << what;
  EXPECT_EQ(got.soft, want.soft) << what;
  EXPECT_EQ(got.best, want.best) << what;
  EXPECT_EQ(got.steps, want.steps) << what;
  EXPECT_EQ(got.passes_per_step, want.passes_per_step) << what;
  for (size_t t = 0; t < want.losses.size(); ++t)
    EXPECT_EQ(got.losses[t].values, want.losses[t].values) << what << ", " << want.losses[t].term;
}

// Batches of other sizes, and other devices, may go through other implementations of a convolution, whose sums run in another order: fp32
// rounding of 1e-7, which nine steps of Adam make larger. A neighbour that got through would differ in the first digit.
inline void expect_close(const OptimisedMask& got, const OptimisedMask& want, const std::string& what, double tolerance = 1e-3) {
  EXPECT_EQ(got.steps, want.steps) << what;
  ASSERT_EQ(got.soft.size(), want.soft.size()) << what;
  for (size_t i = 0; i < want.soft.size(); ++i) ASSERT_NEAR(got.soft[i], want.soft[i], tolerance) << what << ", pixel " << i;
  for (size_t t = 0; t < want.losses.size(); ++t) {
    ASSERT_EQ(got.losses[t].values.size(), want.losses[t].values.size()) << what;
    for (size_t k = 0; k < want.losses[t].values.size(); ++k)
      ASSERT_NEAR(got.losses[t].values[k], want.losses[t].values[k], tolerance * (1 + std::abs(want.losses[t].values[k])))
          << what << ", " << want.losses[t].term;
  }
}

}  // namespace actmatch::test
