// The loop around the objective: area schedule, determinism, every key of a recipe, stopping.
#include <nlohmann/json.hpp>

#include "engine/explain/prune.h"
#include "tests/explain/objective_bench.h"

namespace actmatch::test {
namespace {

using Json = nlohmann::json;

TEST(Schedule, HardMaskHasExactlyTheScheduledArea) {
  ObjectiveBench bench;
  Recipe r = still_recipe();
  r.steps = 12;
  r.weights.ce = 1;
  r.area = {true, 0.8, 0.2, 0.5, 0.7, 1.3, 0.6, 0.05};
  std::vector<double> areas;
  const OptimisedMask mask = Optimiser(bench.classifier, r).run(bench.problem, kSeed, [&](const Progress& p) {
    areas.push_back(p.area);
    EXPECT_EQ(p.step, static_cast<int64_t>(areas.size()));
    EXPECT_EQ(p.steps, 12);
    return true;
  });
  ASSERT_EQ(areas.size(), 12u);
  const auto s = first_logits(r, bench.problem);
  double a = 0.8, best = 1;
  int held = 0, lost = 0;
  HardMask smallest;
  for (int64_t step = 0; step < 12; ++step) {
    const auto count = static_cast<size_t>(std::ceil(a * kPixels * (1 - 1e-6)));
    EXPECT_EQ(areas[static_cast<size_t>(step)], static_cast<double>(count) / kPixels) << "step " << step;
    const Masks m = top_masks(s, count, r.area.temperature);
    const auto z = bench.probe.logits(blend(bench.problem.x, m.hard, colour_image(bench.problem)));
    const bool kept =
        margin_of(z, bench.problem.label) > 0 && softmax_of(z)[static_cast<size_t>(bench.problem.label)] >= 0.6 * bench.problem.p_x;
    if (kept && areas[static_cast<size_t>(step)] < best)
      best = areas[static_cast<size_t>(step)], smallest.assign(m.hard.begin(), m.hard.end());
    if (step + 1 < 6) {
      a = 0.8 * std::pow(0.2 / 0.8, static_cast<double>(step + 1) / 6);  // until 0.5 of 12 steps
    } else {
      a = std::min(a * (kept ? 0.7 : 1.3), 1.6 * best);
      ++(kept ? held : lost);
    }
  }
  EXPECT_GT(held, 0) << "both branches must be seen";
  EXPECT_GT(lost, 0) << "both branches must be seen";
  EXPECT_EQ(mask.best, smallest);
}

// Areas of a recipe that ranks: spread evenly over all of the range, then the fall from its beginning.
TEST(Schedule, AreasTakeTurnsWhileRanking) {
  ObjectiveBench bench;
  Recipe r = still_recipe();
  r.weights.ce = 1;
  r.steps = 24;
  r.learning_rate = 0.01;
  r.area.start = 0.9, r.area.end = 0.1, r.area.ranking = 2.0 / 3, r.area.until = 1;
  std::vector<double> areas;
  Optimiser(bench.classifier, r).run(bench.problem, kSeed, [&](const Progress& p) {
    areas.push_back(p.area);
    return true;
  });
  ASSERT_EQ(areas.size(), 24u);
  std::vector<double> turns(areas.begin() + 1, areas.begin() + 16);  // the first step has `start`, as ever
  std::sort(turns.begin(), turns.end());
  EXPECT_GE(turns.front(), 0.1);
  EXPECT_LE(turns.back(), 0.9 + 1.0 / kPixels);
  EXPECT_LT(turns.front(), 0.1 + 0.8 / 8);
  EXPECT_GT(turns.back(), 0.9 - 0.8 / 8);
  for (size_t i = 1; i < turns.size(); ++i) EXPECT_LT(turns[i] - turns[i - 1], 0.8 / 8) << i;  // twice the mean distance of 16
  for (size_t i = 16; i < 24; ++i)
    EXPECT_NEAR(areas[i], 0.9 * std::pow(0.1 / 0.9, static_cast<double>(i - 16) / 8), 1.0 / kPixels)
        << "a whole number of pixels, step " << i;
}

TEST(Schedule, MasksStayWithinWhatIsAllowed) {
  ObjectiveBench bench;
  bench.problem.allowed.assign(kPixels, 0);
  for (size_t i = 0; i < 20; ++i) bench.problem.allowed[3 * i] = 1;
  Recipe r = still_recipe();
  r.weights.ce = 1;
  r.learning_rate = 0.01;
  r.area.start = 1;
  r.area.keep = 0;
  std::vector<double> areas;
  const OptimisedMask mask = Optimiser(bench.classifier, r).run(bench.problem, kSeed, [&](const Progress& p) {
    areas.push_back(p.area);
    return true;
  });
  EXPECT_EQ(areas[0], 20.0 / kPixels);
  const HardMask top = level_set(mask.logits, 20, {});
  EXPECT_EQ(top, bench.problem.allowed) << "every forbidden pixel ranks below every allowed one";
}

// Everything is on, so that no key is idle.
Json busy_recipe() {
  return Json::parse(R"({"name": "busy", "steps": 6, "learning_rate": 0.2,
    "generator": {"kind": "grid", "cell": 3, "smooth": true},
    "taps": {"names": ["early", "late"], "distances": ["mse", "cosine"], "weights": [1, 2]},
    "weights": {"act": 1, "kl": 1, "ce": 1, "margin": 1, "area": 1, "bin": 1, "tv": 1, "rob": 1, "nec": 1},
    "kl_temperature": 2, "margin": 20, "tv_neighbours": 8, "robust_form": "margin", "robust_backgrounds": 2,
    "necessity_form": "hinge", "necessity_margin": 20, "soft_until": 0.2, "smooth_start": 4, "smooth_end": 2,
    "area_schedule": {"start": 0.7, "end": 0.3, "until": 0.5, "shrink": 0.8, "grow": 1.2, "keep": 0.0, "temperature": 0.4}})");
}

OptimisedMask run_json(ObjectiveBench& bench, const Json& json, uint64_t seed = kSeed) {
  return Optimiser(bench.classifier, recipe_from_json(json.dump(), "test", false)).run(bench.problem, seed, {});
}

bool same_bits(const OptimisedMask& a, const OptimisedMask& b) {
  if (a.logits != b.logits || a.soft != b.soft || a.best != b.best) return false;
  for (size_t t = 0; t < a.losses.size(); ++t)
    if (a.losses[t].values != b.losses[t].values) return false;
  return true;
}

TEST(Optimiser, SameSeedSameBits) {
  Json net = busy_recipe();
  net["generator"] = {{"kind", "csae"}};
  net["learning_rate"] = 0.001;
  for (const Json& json : {busy_recipe(), net}) {
    ObjectiveBench bench, other;
    const Recipe recipe = recipe_from_json(json.dump(), "test", false);
    Optimiser optimiser(bench.classifier, recipe);
    const OptimisedMask first = optimiser.run(bench.problem, kSeed, {});
    EXPECT_TRUE(same_bits(first, optimiser.run(bench.problem, kSeed, {}))) << "a second run of one optimiser";
    EXPECT_TRUE(same_bits(first, run_json(other, json))) << "everything made anew";
    bench.problem.backgrounds.seed += 1;
    EXPECT_FALSE(same_bits(first, optimiser.run(bench.problem, kSeed, {}))) << "other backgrounds";
  }
  ObjectiveBench bench;
  EXPECT_FALSE(same_bits(run_json(bench, net, 1), run_json(bench, net, 2))) << "other first weights";
}

TEST(Optimiser, NoRecipeKeyIsDead) {
  ObjectiveBench bench;
  const Json base = busy_recipe();
  struct Case {
    const char *base, *changed;  // patches of the busy recipe
  };
  const std::vector<Case> cases{
      {"{}", R"({"steps": 5})"},
      {"{}", R"({"learning_rate": 0.1})"},
      {"{}", R"({"beta1": 0.5})"},
      {"{}", R"({"beta2": 0.5})"},
      {"{}", R"({"kl_temperature": 1})"},
      {"{}", R"({"margin": -50})"},
      {"{}", R"({"tv_neighbours": 4})"},
      {"{}", R"({"robust_form": "ce"})"},
      {"{}", R"({"robust_form": "kl"})"},
      {"{}", R"({"robust_backgrounds": 1})"},
      {"{}", R"({"necessity_form": "log"})"},
      {"{}", R"({"necessity_margin": -50})"},
      {"{}", R"({"soft_until": 0.6})"},
      {"{}", R"({"smooth_start": 7})"},
      {"{}", R"({"smooth_end": 5})"},
      {"{}", R"({"generator": {"kind": "csae"}})"},
      {R"({"generator": {"kind": "csae"}})", R"({"generator": {"kind": "unet"}})"},
      {"{}", R"({"generator": {"cell": 2}})"},
      {"{}", R"({"generator": {"smooth": false}})"},
      {R"({"area_schedule": {"enabled": false}})", R"({"generator": {"initial_logit": 0.5}})"},
      {R"({"generator": {"kind": "csae"}, "area_schedule": {"enabled": false}})", R"({"generator": {"initial_logit": 0.5}})"},
      {"{}", R"({"taps": {"names": ["late"]}})"},
      {R"({"taps": {"names": null}})", R"({"taps": {"limit": 1}})"},
      {"{}", R"({"taps": {"distances": ["cosine", "cosine"]}})"},
      {"{}", R"({"taps": {"weights": [1, 3]}})"},
      {"{}", R"({"weights": {"act": 2}})"},
      {"{}", R"({"weights": {"kl": 2}})"},
      {"{}", R"({"weights": {"ce": 2}})"},
      {"{}", R"({"weights": {"margin": 2}})"},
      {"{}", R"({"weights": {"area": 2}})"},
      {"{}", R"({"weights": {"bin": 2}})"},
      {"{}", R"({"weights": {"tv": 2}})"},
      {"{}", R"({"weights": {"rob": 2}})"},
      {"{}", R"({"weights": {"nec": 2}})"},
      {"{}", R"({"area_schedule": {"enabled": false}})"},
      {"{}", R"({"area_schedule": {"start": 0.8}})"},
      {"{}", R"({"area_schedule": {"end": 0.2}})"},
      {"{}", R"({"area_schedule": {"until": 0.9}})"},
      {"{}", R"({"area_schedule": {"shrink": 0.6}})"},
      {R"({"area_schedule": {"keep": 1}})", R"({"area_schedule": {"grow": 1.6}})"},
      {"{}", R"({"area_schedule": {"keep": 1}})"},
      {"{}", R"({"area_schedule": {"temperature": 0.6}})"},
  };
  const auto same_run = [](const OptimisedMask& a, const OptimisedMask& b) {
    // The weights alone change "total" whatever the run does: the mask itself must differ.
    return a.logits == b.logits && a.soft == b.soft;
  };
  for (const Case& c : cases) {
    Json from = base;
    from.merge_patch(Json::parse(c.base));
    Json to = from;
    to.merge_patch(Json::parse(c.changed));
    EXPECT_FALSE(same_run(run_json(bench, from), run_json(bench, to))) << c.base << " -> " << c.changed;
  }
  Json renamed = base;
  renamed["name"] = "other", renamed["about"] = "words";
  EXPECT_TRUE(same_run(run_json(bench, base), run_json(bench, renamed)));
}

TEST(Optimiser, StopsWhenProgressSaysSo) {
  ObjectiveBench bench;
  Recipe r = still_recipe();
  r.weights.ce = 1;
  r.steps = 10;
  int calls = 0;
  error_of([&] { Optimiser(bench.classifier, r).run(bench.problem, kSeed, [&](const Progress&) { return ++calls < 3; }); },
           ErrorCode::kCancelled);
  EXPECT_EQ(calls, 3);
}

TEST(Optimiser, LossThatIsNoNumberIsAnError) {
  ObjectiveBench bench;
  Recipe r = still_recipe();
  r.weights.kl = 1;
  bench.problem.logits_x[0] = NAN;
  expect_mentions(error_of([&] { Optimiser(bench.classifier, r).run(bench.problem, kSeed, {}); }), {"loss", "step 1", "learning_rate"});
}

}  // namespace
}  // namespace actmatch::test
