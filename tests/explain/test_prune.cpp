#include "engine/explain/prune.h"

#include "tests/explain/explain_test_util.h"

namespace actmatch::test {
namespace {

using kernels::RandomStream;

constexpr int64_t kSize = 16, kTile = 4;
const std::vector<RandomStream> kClaimed{RandomStream::kCertify};

PruneOptions small_tiles(int64_t finest = 1) {
  PruneOptions o;
  o.tile = kTile;
  o.coarsest = 2;
  o.finest = finest;
  return o;
}

HardMask without_tile(HardMask mask, int64_t ty, int64_t tx) {
  for (int64_t y = ty * kTile; y < (ty + 1) * kTile; ++y)
    for (int64_t x = tx * kTile; x < (tx + 1) * kTile; ++x) mask[static_cast<size_t>(y * kSize + x)] = 0;
  return mask;
}

// Tiles that could go, by trying each. A mask must not become empty.
int64_t removable(Probe& probe, const Problem& p, const HardMask& mask, const std::vector<RandomStream>& streams) {
  int64_t count = 0;
  for (int64_t t = 0; t < 16; ++t) {
    const HardMask smaller = without_tile(mask, t / 4, t % 4);
    if (smaller != mask && count_pixels(smaller) > 0) count += holds(probe, p, smaller, streams);
  }
  return count;
}

struct Bench {
  GraphSource source;
  Classifier classifier;
  Problem problem;
  Probe probe;
  FeasibilityChecker checker;
  Bench(GraphSource s, std::vector<float> x, const Criterion& criterion, int32_t label = -1)
      : source(std::move(s)),
        classifier(cpu(), source),
        problem(problem_for(classifier, std::move(x), 0.0f, criterion, label)),
        probe(source),
        checker(classifier, problem) {}
  PruneResult prune(const std::vector<float>& logits, const std::vector<HardMask>& candidates = {}, const PruneProgress& progress = {}) {
    return prune_mask(checker, problem, classifier.shape(), logits, candidates, small_tiles(), progress);
  }
};

// A white picture on black: logit 0 is the sum of the weights shown, and has to beat `rival`. weight[t] is that of tile t.
Bench tile_bench(const std::vector<float>& tile_weight, float rival, const Criterion& criterion = {false, 0.01, 0.9, 8},
                 int32_t label = 0) {
  std::vector<float> weight;
  for (int64_t i = 0; i < kSize * kSize; ++i)
    weight.push_back(tile_weight[static_cast<size_t>(i / kSize / kTile * 4 + i % kSize / kTile)] / (kTile * kTile));
  return Bench(linear_classifier(kSize, kSize, weight, rival, -100), std::vector<float>(kSize * kSize, 1.0f), criterion, label);
}

HardMask tile_nine() {
  HardMask mask(256, 0);
  for (int64_t y = 8; y < 12; ++y)
    for (int64_t x = 4; x < 8; ++x) mask[static_cast<size_t>(y * kSize + x)] = 1;
  return mask;
}

// Logits that rank the mask's pixels last.
std::vector<float> away_from(const HardMask& mask) {
  std::vector<float> logits;
  for (uint8_t m : mask) logits.push_back(m ? -1.0f : 1.0f);
  return logits;
}

TEST(LevelSet, TakesTheLargestAndTheFirstOfEqualOnes) {
  const std::vector<float> s{1, 3, 2, 3, 2, 2};
  EXPECT_EQ(level_set(s, 0, {}), (HardMask{0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(level_set(s, 1, {}), (HardMask{0, 1, 0, 0, 0, 0}));
  EXPECT_EQ(level_set(s, 2, {}), (HardMask{0, 1, 0, 1, 0, 0}));
  EXPECT_EQ(level_set(s, 4, {}), (HardMask{0, 1, 1, 1, 1, 0}));
  EXPECT_EQ(level_set(s, 6, {}), (HardMask{1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(level_set(s, 9, {}), (HardMask{1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(level_set(s, 2, {1, 0, 1, 0, 1, 1}), (HardMask{0, 0, 1, 0, 1, 0}));
  EXPECT_EQ(level_set(s, 6, {1, 0, 1, 0, 1, 0}), (HardMask{1, 0, 1, 0, 1, 0})) << "no more than is allowed";
  const std::vector<float> flat(100, 0.5f);
  for (int64_t n : {0, 1, 37, 100}) EXPECT_EQ(count_pixels(level_set(flat, n, {})), n);
}

TEST(Prune, FindsTheOneTileThatCounts) {
  std::vector<float> weight(16, 0.0f);
  weight[6] = 4;
  Bench b = tile_bench(weight, 2.1f);
  const PruneResult r = b.prune(std::vector<float>(256, 0.0f));
  EXPECT_TRUE(r.feasible);
  EXPECT_TRUE(r.minimal);
  EXPECT_GT(r.rounds, 0);
  // Which part of the tile is kept depends on the level set it began with; outside of it there is nothing.
  EXPECT_EQ(count_pixels(without_tile(r.mask, 1, 2)), 0);
  EXPECT_GT(count_pixels(r.mask), 0);
  EXPECT_TRUE(is_minimal(b.checker, r.mask, kSize, kSize, kTile, false)) << "a mask of one tile is minimal by itself";
  EXPECT_TRUE(holds(b.probe, b.problem, r.mask, {}));
}

TEST(Prune, FeasibleAndMinimalByTryingEachTile) {
  for (uint32_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(seed);
    Bench b(conv_classifier(kSize), noise_image({"", "", 3, kSize, kSize, 4, false}, seed), {false, 0.8, 0.9, 8});
    const PruneResult r = b.prune(list<float>(noise({256}, 100 + seed)));
    EXPECT_TRUE(r.feasible);
    EXPECT_TRUE(r.minimal);
    EXPECT_TRUE(holds(b.probe, b.problem, r.mask, {}));
    EXPECT_EQ(removable(b.probe, b.problem, r.mask, {}), 0);
    EXPECT_TRUE(is_minimal(b.checker, r.mask, kSize, kSize, kTile, false));
    EXPECT_GT(count_pixels(r.mask), 0);
    EXPECT_LE(static_cast<double>(count_pixels(r.mask)) / 256, std::max(r.start_area, 1.0 / 16));
  }
}

TEST(Prune, FinerTilesGoToo) {
  for (uint32_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(seed);
    Bench b(conv_classifier(kSize), noise_image({"", "", 3, kSize, kSize, 4, false}, seed), {false, 0.8, 0.9, 8});
    const auto logits = list<float>(noise({256}, 100 + seed));
    const PruneResult fine = prune_mask(b.checker, b.problem, b.classifier.shape(), logits, {}, small_tiles(2), {});
    EXPECT_TRUE(fine.minimal);
    EXPECT_EQ(removable(b.probe, b.problem, fine.mask, {}), 0);
    for (int64_t side : {kTile, kTile / 2}) EXPECT_TRUE(is_minimal(b.checker, fine.mask, kSize, kSize, side, false)) << side;
  }
  // One tile of weight 4 has to beat 2.1: three of its quarters do.
  std::vector<float> weight(16, -0.2f);
  weight[9] = 4;
  Bench b = tile_bench(weight, 2.1f);
  const HardMask candidate = tile_nine();
  const std::vector<float> misleading = away_from(candidate);
  EXPECT_EQ(count_pixels(b.prune(misleading, {candidate}).mask), 16);
  EXPECT_EQ(count_pixels(prune_mask(b.checker, b.problem, b.classifier.shape(), misleading, {candidate}, small_tiles(2), {}).mask), 12);
}

TEST(Prune, MinimalityIsRefusedWhereATileCanGo) {
  std::vector<float> weight(16, 1.0f);
  Bench b = tile_bench(weight, 3.5f);  // any four tiles will do
  HardMask five(256, 1), four;
  for (int64_t t = 5; t < 16; ++t) five = without_tile(five, t / 4, t % 4);
  four = without_tile(five, 1, 0);
  EXPECT_FALSE(is_minimal(b.checker, five, kSize, kSize, kTile, false));
  EXPECT_TRUE(is_minimal(b.checker, four, kSize, kSize, kTile, false));
}

TEST(Prune, UsesAGoodCandidate) {
  std::vector<float> weight(16, -0.2f);
  weight[9] = 4;
  Bench b = tile_bench(weight, 1);
  const HardMask candidate = tile_nine();
  const std::vector<float> misleading = away_from(candidate);
  const PruneResult r = b.prune(misleading, {candidate});
  EXPECT_TRUE(r.feasible);
  EXPECT_EQ(r.mask, candidate);
  EXPECT_EQ(r.start_area, 16.0 / 256);
}

TEST(Prune, ClassThatIsNeverTopIsInfeasible) {
  Bench b = tile_bench(std::vector<float>(16, 1.0f), 3, {false, 0.5, 0.9, 8}, 2);
  const PruneResult r = b.prune(list<float>(noise({256}, 3)));
  EXPECT_FALSE(r.feasible);
  EXPECT_FALSE(r.minimal);
  ASSERT_EQ(r.mask.size(), 256u);
}

TEST(Prune, StaysWithinWhatIsAllowed) {
  for (bool robust : {false, true}) {
    Bench b = tile_bench(std::vector<float>(16, 1.0f), 3.5f, {robust, 0.01, 0.5, 6});
    b.problem.allowed.assign(256, 0);
    for (size_t i = 0; i < 256; ++i) b.problem.allowed[i] = i % 16 < 9;  // the third column of tiles is cut
    const PruneResult r = b.prune(list<float>(noise({256}, 4)));
    EXPECT_TRUE(r.feasible);
    for (size_t i = 0; i < 256; ++i) ASSERT_LE(r.mask[i], b.problem.allowed[i]) << i;
    EXPECT_EQ(removable(b.probe, b.problem, r.mask, kClaimed), 0);
  }
}

TEST(Prune, EmptyMaskIsNoExplanation) {
  // The class holds on the bare background too, and 8 x 8 pixels have level sets of less than a pixel.
  const GraphSource source = linear_classifier(8, 8, std::vector<float>(64, 1.0f / 64), -1, -2);
  Bench b(source, std::vector<float>(64, 1.0f), {false, 0.1, 0.9, 4});
  const PruneResult r = b.prune(std::vector<float>(64, 0.0f));
  EXPECT_TRUE(r.feasible);
  EXPECT_GT(count_pixels(r.mask), 0);
}

TEST(Prune, RobustHoldsOnTheCertifyStreamAndIsMinimal) {
  int64_t smaller = 0;
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    Bench b(conv_classifier(kSize), noise_image({"", "", 3, kSize, kSize, 4, false}, seed, 1.5f), {true, 0.5, 0.75, 8});
    const PruneResult r = b.prune(list<float>(noise({256}, 100 + seed)));
    EXPECT_TRUE(r.feasible);
    EXPECT_TRUE(r.minimal);
    EXPECT_TRUE(holds(b.probe, b.problem, r.mask, kClaimed));
    EXPECT_EQ(removable(b.probe, b.problem, r.mask, kClaimed), 0);
    EXPECT_TRUE(is_minimal(b.checker, r.mask, kSize, kSize, kTile, true));
    smaller += count_pixels(r.mask) < 256;
  }
  EXPECT_GT(smaller, 0);
}

TEST(Prune, StopsWhenProgressSaysSo) {
  Bench b = tile_bench(std::vector<float>(16, 1.0f), 3.5f);
  int calls = 0;
  error_of([&] { b.prune(std::vector<float>(256, 0.0f), {}, [&](double) { return ++calls < 2; }); }, ErrorCode::kCancelled);
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace actmatch::test
