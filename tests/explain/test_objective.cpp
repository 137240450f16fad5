// The whole objective of the optimisation loop, value and gradient, against its definition.
#include "tests/explain/objective_bench.h"

namespace actmatch::test {
namespace {

// Runs a still recipe of two steps with one term's weight set and compares everything recorded.
void check_term(Recipe r, const std::string& term) {
  SCOPED_TRACE(term);
  ObjectiveBench bench;
  Optimiser optimiser(bench.classifier, r);
  const OptimisedMask mask = optimiser.run(bench.problem, kSeed, {});
  EXPECT_EQ(optimiser.passes_per_step(), 1 + (term == "rob" ? r.robust_backgrounds + (r.robust_blur > 0) : 0) + (term == "nec"));
  ASSERT_EQ(mask.steps, 2);
  const auto s = first_logits(r, bench.problem);
  const size_t counts[] = {32, 23};  // ceil(64 * 0.5), ceil(64 * 0.5 * (0.25/0.5)^(1/2)) = ceil(22.6)
  double previous = NAN;
  for (int64_t step = 0; step < 2; ++step) {
    const Masks m = top_masks(s, counts[step], r.area.temperature);
    const bool soft = static_cast<double>(step) < 2 * r.soft_until;
    Terms t = bench.image_terms(r, soft ? m.soft : m.hard, step);
    t.merge(bench.mask_terms(r, m.soft));
    const auto i = static_cast<size_t>(step);
    // Float against double: the net's logits are good to 1e-6, the distances' sums to 1e-5.
    const double tolerance = 1e-4 * std::max(1.0, std::abs(t[term]));
    EXPECT_NEAR(trace(mask, term).at(i), t[term], tolerance);
    EXPECT_NEAR(trace(mask, "total").at(i), weights_of(r)[term] * t[term], 3 * tolerance);  // the weight is at most 2
    EXPECT_GT(std::abs(t[term]), 1e-3) << "a term that is zero tests nothing";
    EXPECT_NE(t[term], previous) << "the two steps show different masks";
    previous = t[term];
  }
}

TEST(Objective, ActivationMatchingWithEveryDistance) {
  for (TapDistance d :
       {TapDistance::kKlChannels, TapDistance::kKlPositions, TapDistance::kCosine, TapDistance::kMse, TapDistance::kStandardisedMse}) {
    SCOPED_TRACE(name_of(d));
    Recipe r = still_recipe();
    r.weights.act = 2;
    r.taps.distances = {d};
    r.taps.weights = {1, 0.5};
    check_term(r, "act");
  }
}

TEST(Objective, EachTapHasItsOwnDistanceAndWeight) {
  Recipe r = still_recipe();
  r.weights.act = 1;
  r.taps.names = {"early", "late"};
  r.taps.distances = {TapDistance::kMse, TapDistance::kStandardisedMse};
  r.taps.weights = {0.25, 2};
  check_term(r, "act");
}

TEST(Objective, TermsOnTheLogits) {
  Recipe r = still_recipe();
  r.weights.kl = 1.5;
  r.kl_temperature = 3;
  check_term(r, "kl");
  r = still_recipe();
  r.weights.ce = 2;
  check_term(r, "ce");
  r = still_recipe();
  r.weights.margin = 1;
  r.margin = 20;
  check_term(r, "margin");
}

TEST(Objective, TermsOnTheMask) {
  for (const char* term : {"area", "bin", "tv"})
    for (int neighbours : {4, 8}) {
      Recipe r = still_recipe();
      r.tv_neighbours = neighbours;
      (std::string(term) == "area" ? r.weights.area : std::string(term) == "bin" ? r.weights.bin : r.weights.tv) = 2;
      check_term(r, term);
    }
}

TEST(Objective, RandomBackgroundsInEveryForm) {
  for (RobustForm form : {RobustForm::kCrossEntropy, RobustForm::kKl, RobustForm::kMargin}) {
    Recipe r = still_recipe();
    r.weights.rob = 1.5;
    r.robust_backgrounds = 3;
    r.robust_form = form;
    r.margin = 20;
    check_term(r, "rob");
  }
}

TEST(Objective, TheBlurredPictureIsABackgroundToo) {
  for (int64_t random : {0, 2}) {
    Recipe r = still_recipe();
    r.weights.rob = 1.5;
    r.robust_backgrounds = random;
    r.robust_blur = 1.25;
    check_term(r, "rob");
  }
}

TEST(Objective, NecessityInBothForms) {
  for (NecessityForm form : {NecessityForm::kHinge, NecessityForm::kLog}) {
    Recipe r = still_recipe();
    r.weights.nec = 1.5;
    r.necessity_form = form;
    r.necessity_margin = 20;
    check_term(r, "nec");
  }
}

TEST(Objective, SoftMaskIsComposedUntilSoftUntil) {
  Recipe r = still_recipe();
  r.weights.ce = 1;
  r.soft_until = 0.5;  // the first of two steps
  check_term(r, "ce");
  r.soft_until = 1;
  check_term(r, "ce");
}

TEST(Objective, WithoutScheduleTheMaskIsWhereTheLogitIsPositive) {
  ObjectiveBench bench;
  Recipe r = still_recipe();
  auto s = first_logits(r, bench.problem);
  std::sort(s.begin(), s.end());
  r.generator.initial_logit = static_cast<float>(-(s[39] + s[40]) / 2);  // 24 of the 64 pixels become positive
  r.area.enabled = false;
  r.weights.ce = r.weights.area = r.weights.tv = 1;
  std::vector<double> areas;
  const OptimisedMask mask = Optimiser(bench.classifier, r).run(bench.problem, kSeed, [&](const Progress& p) {
    areas.push_back(p.area);
    return true;
  });
  EXPECT_EQ(areas, (std::vector<double>{24.0 / 64, 24.0 / 64}));
  std::vector<double> hard, soft;
  for (float v : mask.logits) hard.push_back(v > 0), soft.push_back(1 / (1 + std::exp(-static_cast<double>(v))));
  Terms t = bench.image_terms(r, hard, 0);
  t.merge(bench.mask_terms(r, soft));
  for (const char* term : {"ce", "area", "tv"}) EXPECT_NEAR(trace(mask, term)[0], t[term], 1e-4) << term;  // float against double
  for (size_t i = 0; i < soft.size(); ++i) ASSERT_NEAR(mask.soft[i], soft[i], 1e-6);                       // a few roundings
}

TEST(Objective, TotalIsTheWeightedSum) {
  ObjectiveBench bench;
  Recipe r = still_recipe();
  r.weights = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  r.margin = r.necessity_margin = 20;
  r.robust_backgrounds = 2;
  const OptimisedMask mask = Optimiser(bench.classifier, r).run(bench.problem, kSeed, {});
  EXPECT_EQ(mask.passes_per_step, 4);
  for (size_t step = 0; step < 2; ++step) {
    double total = 0;
    for (const auto& [term, weight] : weights_of(r)) {
      EXPECT_GT(trace(mask, term)[step], 0) << term;
      total += weight * trace(mask, term)[step];
    }
    EXPECT_NEAR(trace(mask, "total")[step], total, 1e-5 * total);  // nine roundings
  }
}

// The gradient itself, read off Adam's first step: with weights of 1e-8 it is of the size of Adam's epsilon, and
// u = g / (|g| + epsilon) gives g back.
TEST(Objective, GradientOfEveryTermAtTheMaskLogits) {
  constexpr double kEpsilon = 1e-8, kWeight = 1e-8;
  ObjectiveBench bench(UnaryKind::kSoftplus);
  std::vector<std::pair<std::string, Recipe>> cases;
  const auto add = [&](const std::string& name, const auto& change) {
    Recipe r = still_recipe();
    r.generator = {GeneratorKind::kGrid, 1, false, 0.0f};  // one logit a pixel: parameter = s
    r.steps = 1;
    r.learning_rate = 1;
    r.area.temperature = 0.25;
    r.margin = r.necessity_margin = 20;
    change(r);
    cases.emplace_back(name, r);
  };
  for (TapDistance d :
       {TapDistance::kKlChannels, TapDistance::kKlPositions, TapDistance::kCosine, TapDistance::kMse, TapDistance::kStandardisedMse})
    add(std::string("act ") + name_of(d), [&](Recipe& r) { r.weights.act = kWeight, r.taps.distances = {d}; });
  add("kl", [&](Recipe& r) { r.weights.kl = kWeight; });
  add("ce", [&](Recipe& r) { r.weights.ce = kWeight; });
  add("ce, soft", [&](Recipe& r) { r.weights.ce = kWeight, r.soft_until = 1; });
  add("margin", [&](Recipe& r) { r.weights.margin = kWeight; });
  add("area", [&](Recipe& r) { r.weights.area = kWeight; });
  for (RobustForm form : {RobustForm::kCrossEntropy, RobustForm::kKl, RobustForm::kMargin})
    add("rob", [&](Recipe& r) { r.weights.rob = kWeight, r.robust_backgrounds = 2, r.robust_form = form; });
  add("rob, blurred", [&](Recipe& r) { r.weights.rob = kWeight, r.robust_backgrounds = 1, r.robust_blur = 2; });
  for (NecessityForm form : {NecessityForm::kHinge, NecessityForm::kLog})
    add("nec", [&](Recipe& r) { r.weights.nec = kWeight, r.necessity_form = form; });
  add("all", [&](Recipe& r) {
    r.weights = {kWeight, 2 * kWeight, kWeight, kWeight, 3 * kWeight, 0, 0, 2 * kWeight, kWeight};
    r.robust_backgrounds = 2;
  });
  for (const auto& [name, r] : cases) {
    SCOPED_TRACE(name);
    const OptimisedMask mask = Optimiser(bench.classifier, r).run(bench.problem, kSeed, {});
    std::vector<double> shown(kPixels, 0.5);  // all logits are equal: m = 1/2, and the hard mask is the first half
    if (r.soft_until == 0)
      for (size_t i = 0; i < kPixels; ++i) shown[i] = i < kPixels / 2;
    const auto weights = weights_of(r);
    const auto loss = [&, &recipe = r](const std::vector<double>& k) {
      double sum = 0;
      Terms t = bench.image_terms(recipe, k, 0);
      for (const auto& [term, value] : t)
        if (weights.at(term) > 0) sum += weights.at(term) / kWeight * value;
      for (double v : k) sum += weights.at("area") / kWeight * v / kPixels;  // straight-through: d area / dm is the same at any mask
      return sum;
    };
    std::vector<double> wanted, got;
    double largest = 0;
    for (size_t i = 0; i < kPixels; ++i) {
      const double step = 0.01;
      std::vector<double> above = shown, below = shown;
      above[i] += step, below[i] -= step;
      wanted.push_back((loss(above) - loss(below)) / (2 * step) * 0.25 / r.area.temperature);  // m (1 - m) / T
      largest = std::max(largest, std::abs(wanted.back()));
      const double u = -static_cast<double>(mask.logits[i]);
      got.push_back(kEpsilon * u / (1 - std::abs(u)) / kWeight);
    }
    ASSERT_GT(largest, 1e-3);
    // Differences of float logits (1e-6 / 0.02).
    for (size_t i = 0; i < kPixels; ++i) EXPECT_NEAR(got[i], wanted[i], 0.01 * largest + 2e-4) << "pixel " << i;
  }
}

}  // namespace
}  // namespace actmatch::test
