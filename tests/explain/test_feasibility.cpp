#include "engine/explain/feasibility.h"

#include <numeric>

#include "tests/explain/explain_test_util.h"

namespace actmatch::test {
namespace {

using kernels::RandomStream;

constexpr RandomStream kPrune[] = {RandomStream::kPrune};
constexpr RandomStream kBoth[] = {RandomStream::kPrune, RandomStream::kCertify};
const std::vector<RandomStream> kBothList{RandomStream::kPrune, RandomStream::kCertify};

struct Bench {
  GraphSource source;
  Classifier classifier;
  Problem problem;
  Probe probe;
  FeasibilityChecker checker;
  explicit Bench(const Criterion& criterion = {true, 0.5, 0.6, 7}, UnaryKind activation = UnaryKind::kRelu)
      : source(conv_classifier(8, activation)),
        classifier(cpu(), source),
        problem(problem_for(classifier, telling_picture(source, 0.1f), 0.1f, criterion)),
        probe(source),
        checker(classifier, problem) {}
  std::vector<HardMask> masks() const {
    std::vector<HardMask> list;
    for (uint32_t i = 0; i < 24; ++i) list.push_back(random_mask(8, 8, 200 + i, 0.3 + 0.03 * i));
    list.emplace_back(64, 1);
    return list;
  }
};

TEST(Feasibility, NeededBackgroundsIsTheSmallestSufficientCount) {
  EXPECT_EQ(needed_backgrounds(0.9, 32), 29);  // 28.8
  EXPECT_EQ(needed_backgrounds(0.9, 30), 27);  // 0.9 * 30 is a little above 27 in double
  EXPECT_EQ(needed_backgrounds(0.9, 10), 9);
  EXPECT_EQ(needed_backgrounds(0.7, 10), 7);
  EXPECT_EQ(needed_backgrounds(1.0, 32), 32);
  EXPECT_EQ(needed_backgrounds(0.01, 32), 1);
  EXPECT_EQ(needed_backgrounds(0.5, 1), 1);
}

TEST(Feasibility, FullAndEmptyMasks) {
  Bench b;
  const std::vector<HardMask> both{HardMask(64, 1), HardMask(64, 0)};
  const auto e = b.checker.baseline(both), c = b.checker.complement(both);
  const std::vector<double> on[] = {b.probe.logits(b.problem.x), b.probe.logits(colour_image(b.problem))};
  const auto check = [&](const BaselineCheck& got, const std::vector<double>& z) {
    // Batches may take other algorithms: logits of order 1, sums of under 100 terms.
    EXPECT_EQ(got.top, std::max_element(z.begin(), z.end()) - z.begin());
    EXPECT_NEAR(got.p_label, softmax_of(z)[static_cast<size_t>(b.problem.label)], 1e-5);
    EXPECT_NEAR(got.margin, margin_of(z, b.problem.label), 1e-5);
    EXPECT_NEAR(got.log_odds, log_odds_of(z, b.problem.label), 1e-5);
  };
  check(e[0], on[0]);
  check(e[1], on[1]);
  check(c[0], on[1]);
  check(c[1], on[0]);
  EXPECT_TRUE(e[0].sufficient) << "the whole picture always is";
  EXPECT_EQ(b.checker.held(HardMask(64, 1), RandomStream::kPrune), 7);
}

TEST(Feasibility, WholePictureIsSufficientAtEveryTau) {
  for (double tau : {0.5, 0.9999, 1.0}) {
    Bench b({false, tau, 0.9, 4});
    EXPECT_TRUE(b.checker.feasible(HardMask(64, 1), {})) << "tau " << tau;
  }
}

TEST(Feasibility, AgreesWithBruteForce) {
  Bench b({true, 0.5, 0.9, 7});
  const auto masks = b.masks();
  int64_t good = 0, sufficient_only = 0;
  const auto verdict = b.checker.feasible(masks, kBoth);
  for (size_t i = 0; i < masks.size(); ++i) {
    const bool wanted = holds(b.probe, b.problem, masks[i], kBothList);
    EXPECT_EQ(verdict[i], wanted) << "mask " << i;
    EXPECT_EQ(b.checker.feasible(masks[i], kBoth), wanted);
    EXPECT_EQ(b.checker.feasible(masks[i], kPrune), holds(b.probe, b.problem, masks[i], {RandomStream::kPrune}));
    good += wanted;
    sufficient_only += !wanted && holds(b.probe, b.problem, masks[i], {});
    for (RandomStream s : kBoth) {
      int64_t held = 0;
      const auto margins = b.checker.margins(masks[i], s);
      for (int64_t k = 0; k < 7; ++k) {
        const double margin = margin_of(b.probe.logits(blend(b.problem.x, masks[i], background_image(b.problem, s, k))), b.problem.label);
        EXPECT_NEAR(margins[static_cast<size_t>(k)], margin, 1e-4);  // batches, and backgrounds of up to 3 sigma
        held += margin > 0;
      }
      EXPECT_EQ(b.checker.held(masks[i], s), held);
    }
  }
  EXPECT_GT(good, 1) << "masks of both kinds are needed";
  EXPECT_GT(sufficient_only, 0) << "so are masks that fail on random backgrounds alone";
}

TEST(Feasibility, MarginsOfFeasibleMasksOnly) {
  Bench b({true, 0.5, 0.7, 7});
  const RandomStream certify[] = {RandomStream::kCertify};
  EXPECT_EQ(b.checker.refuting_count(), 4) << "7 backgrounds of which 5 must hold: 3 failures refute";
  int64_t good = 0;
  for (const HardMask& mask : b.masks()) {
    const bool wanted = holds(b.probe, b.problem, mask, {RandomStream::kCertify});
    const std::vector<int64_t> orders[] = {b.checker.critical_order(mask, certify), {6, 5, 4, 3, 2, 1, 0}, {}};
    for (const auto& order : orders) {
      const auto margins = b.checker.margins_if_feasible(mask, RandomStream::kCertify, order);
      EXPECT_EQ(!margins.empty(), wanted);
      if (wanted) {
        EXPECT_EQ(margins, b.checker.margins(mask, RandomStream::kCertify));
      }
    }
    good += wanted;
  }
  EXPECT_GT(good, 1);
}

TEST(Feasibility, SomeBackgroundsCanOnlyRefute) {
  Bench b({true, 0.5, 0.9, 7});
  const RandomStream certify[] = {RandomStream::kCertify};
  int64_t refuted = 0;
  const auto masks = b.masks();
  const int64_t one[] = {3};
  const auto possible = b.checker.feasible(masks, certify, one), good = b.checker.feasible(masks, certify);
  for (size_t i = 0; i < masks.size(); ++i) {
    EXPECT_GE(possible[i], good[i]);
    const double margin =
        margin_of(b.probe.logits(blend(b.problem.x, masks[i], background_image(b.problem, RandomStream::kCertify, 3))), b.problem.label);
    EXPECT_EQ(possible[i], holds(b.probe, b.problem, masks[i], {}) && margin > 0) << "at 90 % of 7 one failure refutes";
    refuted += !possible[i];
  }
  EXPECT_GT(refuted, 0);
}

TEST(Feasibility, FreshBackgroundsAreTheNextOnes) {
  Bench b({true, 0.5, 0.9, 7});
  for (const HardMask& mask : b.masks()) {
    int64_t held = 0;
    for (int64_t k = 7; k < 14; ++k)
      held +=
          margin_of(b.probe.logits(blend(b.problem.x, mask, background_image(b.problem, RandomStream::kCertify, k))), b.problem.label) > 0;
    EXPECT_EQ(b.checker.held_fresh(mask), held);
  }
}

TEST(Feasibility, OrderOfBackgroundsDoesNotChangeTheVerdict) {
  Bench b;
  const auto masks = b.masks();
  const auto wanted = b.checker.feasible(masks, kBoth);
  std::vector<int64_t> order(14);
  std::iota(order.rbegin(), order.rend(), 0);
  EXPECT_EQ(b.checker.feasible(masks, kBoth, order), wanted);
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i * 5 % 14);  // 5 and 14 have no common factor
  EXPECT_EQ(b.checker.feasible(masks, kBoth, order), wanted);
  const auto critical = b.checker.critical_order(masks[8], kBoth);
  EXPECT_EQ(b.checker.feasible(masks, kBoth, critical), wanted);
  std::vector<float> margins;
  for (RandomStream s : kBoth)
    for (float m : b.checker.margins(masks[8], s)) margins.push_back(m);
  for (size_t i = 1; i < critical.size(); ++i)
    EXPECT_LE(margins[static_cast<size_t>(critical[i - 1])], margins[static_cast<size_t>(critical[i])]);
}

TEST(Feasibility, SpareTightensTheVerdict) {
  Bench b;
  const auto masks = b.masks();
  int64_t changed = 0;
  const auto plain = b.checker.feasible(masks, kBoth);
  for (int64_t spare : {1, 2}) {
    const auto strict = b.checker.feasible(masks, kBoth, {}, spare);
    for (size_t i = 0; i < masks.size(); ++i) {
      EXPECT_EQ(strict[i], holds(b.probe, b.problem, masks[i], kBothList, spare)) << "mask " << i;
      EXPECT_LE(strict[i], plain[i]);
      changed += strict[i] != plain[i];
    }
  }
  EXPECT_GT(changed, 0);
}

TEST(Feasibility, FailedMasksAreNotTriedFurther) {
  Bench b({true, 0.5, 0.9, 32});
  // One mask that fails on the baseline costs one image, whatever number of backgrounds there is.
  HardMask hopeless;
  for (const HardMask& m : b.masks())
    if (!holds(b.probe, b.problem, m, {})) hopeless = m;
  ASSERT_FALSE(hopeless.empty());
  int64_t before = b.classifier.images_run();
  EXPECT_FALSE(b.checker.feasible(hopeless, kBoth));
  EXPECT_EQ(b.classifier.images_run() - before, 1);
  before = b.classifier.images_run();
  EXPECT_TRUE(b.checker.feasible(HardMask(64, 1), kBoth));
  EXPECT_EQ(b.classifier.images_run() - before, 65);
}

TEST(Feasibility, SufficientIgnoresTheStreams) {
  Bench b({false, 0.5, 0.9, 32});
  for (const HardMask& m : b.masks()) EXPECT_EQ(b.checker.feasible(m, kBoth), holds(b.probe, b.problem, m, {}));
}

TEST(Feasibility, SpareOddsAreCappedMeans) {
  Bench b;
  const auto masks = b.masks();
  const std::vector<int64_t> some{2, 5};
  const float cap = 0.3f;
  const auto got = b.checker.spare_odds(masks, some, cap), alone = b.checker.spare_odds(masks, {}, 100.0f);
  bool capped = false;
  for (size_t i = 0; i < masks.size(); ++i) {
    const double base = log_odds_of(b.probe.logits(blend(b.problem.x, masks[i], colour_image(b.problem))), b.problem.label);
    double sum = std::min<double>(cap, base);
    capped = capped || base > cap;
    for (int64_t k : some) {
      const auto z = b.probe.logits(blend(b.problem.x, masks[i], background_image(b.problem, RandomStream::kPrune, k)));
      sum += std::min<double>(cap, log_odds_of(z, b.problem.label));
    }
    EXPECT_NEAR(got[i], sum / 3, 1e-4);  // float logits
    EXPECT_NEAR(alone[i], base, 1e-4);
  }
  EXPECT_TRUE(capped);
}

// Pixels of the picture are moved a hundredth of the way to the background, and back.
TEST(Feasibility, OddsGainAgreesWithDifferences) {
  Bench b({}, UnaryKind::kSoftplus);
  const HardMask mask = random_mask(8, 8, 5, 0.6);
  const auto gain = b.checker.odds_gain(mask);
  double largest = 0;
  for (float g : gain) largest = std::max<double>(largest, std::abs(g));
  ASSERT_GT(largest, 0.01);
  for (size_t i = 0; i < 64; ++i) {
    std::vector<double> up(mask.begin(), mask.end()), down = up;
    up[i] += 0.01, down[i] -= 0.01;
    const auto odds = [&](const auto& k) {
      return log_odds_of(b.probe.logits(blend(b.problem.x, k, colour_image(b.problem))), b.problem.label);
    };
    // Float's rounding of 1e-6 / 0.02.
    EXPECT_NEAR(gain[i], (odds(up) - odds(down)) / 0.02, 0.01 * largest + 2e-4) << i;
  }
}

TEST(Feasibility, ImportanceAgreesWithDifferences) {
  Bench b({true, 0.5, 0.6, 11}, UnaryKind::kSoftplus);  // more than one batch of eight, and a rest
  const HardMask mask = random_mask(8, 8, 5, 0.6);
  for (RandomStream stream : kBoth) {
    const auto worth = b.checker.importance(mask, stream);
    std::vector<std::vector<float>> backgrounds;
    for (int64_t k = 0; k < 11; ++k) backgrounds.push_back(background_image(b.problem, stream, k));
    double largest = 0;
    for (float w : worth) largest = std::max<double>(largest, std::abs(w));
    ASSERT_GT(largest, 0.01);
    for (size_t i = 0; i < 64; ++i) {
      if (!mask[i]) {
        EXPECT_EQ(worth[i], 0);
        continue;
      }
      const auto loss = [&](double share) {
        std::vector<double> k(mask.begin(), mask.end());
        k[i] = share;
        double sum = 0;
        for (const auto& background : backgrounds)
          sum -= std::log(softmax_of(b.probe.logits(blend(b.problem.x, k, background)))[static_cast<size_t>(b.problem.label)]);
        return sum;
      };
      EXPECT_NEAR(worth[i], (loss(0.99) - loss(1.01)) / 0.02, 0.01 * largest + 2e-3) << i;  // as above, eleven times
    }
  }
}

}  // namespace
}  // namespace actmatch::test
