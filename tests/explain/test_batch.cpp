// Several pictures at once: each gets what it would get alone, bit for bit; on every backend that is there, recorded for real or not.
#include "tests/explain/busy_recipe.h"
#include "tests/explain/tape_backend.h"

namespace actmatch::test {
namespace {

TapeBackend& tape() {
  static TapeBackend backend(cpu());
  return backend;
}

struct Device {
  const char* name;
  Backend& (*backend)();
};

class Batch : public ::testing::TestWithParam<Device> {
 protected:
  Backend& backend() { return GetParam().backend(); }

  GraphSource source_ = conv_classifier(kSize);
  Classifier classifier_{backend(), source_};

  // Pictures of the size of the classifier's, each with a class and a colour of its own.
  std::vector<Problem> problems(size_t count, const Criterion& criterion = {}) {
    std::vector<Problem> list;
    for (size_t i = 0; i < count; ++i) {
      auto x = telling_picture(source_, 0.1f * static_cast<float>(i));
      for (float& v : x) v *= 1.0f - 0.2f * static_cast<float>(i);
      list.push_back(problem_for(classifier_, x, 0.1f * static_cast<float>(i), criterion, i == 1 ? 2 : -1));
    }
    return list;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, Batch, ::testing::Values(Device{"cpu", cpu}, Device{"tape", []() -> Backend& { return tape(); }}),
                         [](const auto& device) { return std::string(device.param.name); });

TEST_P(Batch, PicturesGetWhatTheyGetAlone) {
  for (const std::string generator : {"grid", "csae", "unet"}) {
    SCOPED_TRACE(generator);
    auto list = problems(3);
    list[2].allowed.assign(kPixels, 1);
    for (size_t i = 0; i < 30; ++i) list[2].allowed[i] = 0;
    Optimiser one(classifier_, busy(generator)), three(classifier_, busy(generator), 3);
    const auto together = three.run(list, kSeed, {});
    ASSERT_EQ(together.size(), 3u);
    for (size_t i = 0; i < 3; ++i) {
      expect_same(together[i], one.run(list[i], kSeed, {}), "picture " + std::to_string(i));
      for (size_t j = 0; j < i; ++j) EXPECT_NE(together[i].soft, together[j].soft);
    }
    const std::vector<Problem> turned{list[2], list[0], list[1]};
    const auto again = three.run(turned, kSeed, {});
    for (size_t i = 0; i < 3; ++i) expect_same(again[(i + 1) % 3], together[i], "in another place");
  }
}

TEST_P(Batch, AreaIsSteeredForEachPicture) {
  const auto list = problems(3);
  std::vector<std::vector<double>> areas(3);
  Recipe r = busy();
  r.steps = 20;
  Optimiser(classifier_, r, 3).run(list, kSeed, [&](const Progress& p) {
    areas[static_cast<size_t>(p.picture)].push_back(p.area);
    EXPECT_EQ(p.step, static_cast<int64_t>(areas[static_cast<size_t>(p.picture)].size()));
    EXPECT_EQ(static_cast<int64_t>(p.losses->front().values.size()), p.step);
    return true;
  });
  for (const auto& a : areas) EXPECT_EQ(a.size(), 20u);
  EXPECT_TRUE(areas[0] != areas[1] || areas[0] != areas[2]) << "this test needs pictures that are not equally hard";
}

TEST_P(Batch, FewerPicturesThanPlaces) {
  const auto list = problems(3);
  Optimiser four(classifier_, busy(), 4), exact(classifier_, busy(), 3);
  const auto got = four.run(list, kSeed, {}), want = exact.run(list, kSeed, {});
  ASSERT_EQ(got.size(), 3u);
  for (size_t i = 0; i < 3; ++i) expect_same(got[i], want[i], "picture " + std::to_string(i));
}

TEST_P(Batch, OneOptimiserServesAllSizesAndCriteria) {
  auto list = problems(3);
  Optimiser optimiser(classifier_, busy());
  const auto first = optimiser.run(list, kSeed, {});
  const OptimisedMask alone = optimiser.run(list[1], kSeed, {});
  expect_same(alone, first[1], "after a larger batch");
  for (Problem& p : list) p.criterion.robust = true, p.criterion.rho = 1.0, p.backgrounds.seed += 1;
  const auto robust = optimiser.run(list, kSeed, {});
  EXPECT_NE(robust[1].logits, first[1].logits) << "other backgrounds";
  for (size_t i = 0; i < 3; ++i) expect_same(Optimiser(classifier_, busy()).run(list[i], kSeed, {}), robust[i], "made anew");
  EXPECT_NE(optimiser.run(list, kSeed + 1, {}).size(), 0u);
}

TEST_P(Batch, OnePictureMayFail) {
  auto list = problems(3);
  const OptimisedMask want = Optimiser(classifier_, busy()).run(list[2], kSeed, {});
  list[1].logits_x[0] = NAN;
  Optimiser optimiser(classifier_, busy());
  const auto got = optimiser.run(list, kSeed, {});
  expect_mentions(got[1].failure, {"loss", "step 1", "learning_rate"});
  EXPECT_EQ(got[0].failure + got[2].failure, "");
  expect_same(got[2], want, "the neighbour");
}

TEST_P(Batch, StopRequestsGetThrough) {
  const auto list = problems(2);
  Optimiser optimiser(classifier_, busy(), 2);
  const auto want = optimiser.run(list, kSeed, {});
  int calls = 0;
  error_of([&] { optimiser.run(list, kSeed, [&](const Progress&) { return ++calls < 5; }); }, ErrorCode::kCancelled);
  EXPECT_EQ(calls, 5);
  const auto again = optimiser.run(list, kSeed, {});
  for (size_t i = 0; i < 2; ++i) expect_same(again[i], want[i], "after a stop");
}

TEST_P(Batch, OptimiserEstimatesItsMemory) {
  Optimiser optimiser(classifier_, busy());
  const size_t guess = optimiser.estimate_bytes(6), one = optimiser.estimate_bytes(1);
  optimiser.prepare(6);
  const size_t known = optimiser.estimate_bytes(6);
  EXPECT_GT(known, 3 * one);
  EXPECT_LT(static_cast<double>(known), 1.3 * static_cast<double>(guess));  // arenas are packed, not added up
  // Rather too much than too little: what a convolution takes for each thread, not for each picture, is counted with every picture.
  EXPECT_GT(static_cast<double>(known), 0.5 * static_cast<double>(guess));
}

TEST_P(Batch, ExplanationsAreThoseOfSinglePictures) {
  const auto list = problems(3);
  std::vector<ExplainInput> inputs;
  for (const size_t which : {0, 0, 1, 2}) {
    const Problem& p = list[which];
    inputs.push_back({p.x, p.colour, p.backgrounds, -1, p.image_index});
  }
  inputs[1].x[5] = NAN;
  for (const bool robust : {false, true}) {
    ExplainSettings settings;
    settings.criterion = {robust, 0.3, 0.7, 8};
    settings.prune.tile = 2;
    settings.instances = 2, settings.instance_margin = 1;
    Explainer explainer(classifier_, busy());
    const auto pruned = [](std::vector<int64_t>& seen) {
      return [&seen](const ExplainProgress& p) {
        if (std::string(p.phase) == "prune" && p.instance == 0 && (seen.empty() || seen.back() != p.picture)) seen.push_back(p.picture);
        return true;
      };
    };
    std::vector<int64_t> finished, expected;
    const auto together = explainer.explain_batch(inputs, settings, pruned(finished));
    ASSERT_EQ(together.size(), 4u);
    ASSERT_TRUE(together[1].error);
    error_of([&] { std::rethrow_exception(together[1].error); }, ErrorCode::kInvalidArgument);
    size_t instances = 0;
    for (size_t i : {0, 2, 3}) {
      EXPECT_FALSE(together[i].error);
      std::vector<int64_t> finished_alone;
      const auto alone = Explainer(classifier_, busy()).explain(inputs[i], settings, pruned(finished_alone));
      if (!finished_alone.empty()) expected.push_back(static_cast<int64_t>(i));
      EXPECT_EQ(together[i].label, alone.label);
      ASSERT_EQ(together[i].instances.size(), alone.instances.size());
      instances += alone.instances.size();
      for (size_t n = 0; n < alone.instances.size(); ++n) {
        const Explanation &a = alone.instances[n], &b = together[i].instances[n];
        EXPECT_EQ(a.mask, b.mask);
        EXPECT_EQ(a.soft, b.soft);
        EXPECT_EQ(a.p_e, b.p_e);
        EXPECT_EQ(a.feasible, b.feasible);
        EXPECT_EQ(a.fresh_stability, b.fresh_stability);
        EXPECT_EQ(a.minimal_tile, b.minimal_tile);
        for (size_t t = 0; t < a.losses.size(); ++t) EXPECT_EQ(a.losses[t].values, b.losses[t].values);
      }
    }
    if (backend().quick_bytes() == 0) {  // together: they report in turn
      std::sort(finished.begin(), finished.end());
      finished.erase(std::unique(finished.begin(), finished.end()), finished.end());
    }
    EXPECT_EQ(finished, expected) << "those that have something to prune; on the CPU one after another";
    EXPECT_FALSE(expected.empty());
    EXPECT_GT(instances, 3u) << "some have a second explanation";
    EXPECT_LT(instances, 6u) << "and some have not";
  }
}

TEST(BatchOnTape, TheStepIsRecordedOnceForEachPhaseAndReplayed) {
  TapeBackend backend(cpu());
  const auto source = conv_classifier(kSize);
  Classifier classifier(backend, source), plain(cpu(), source);
  const Problem problem = problem_for(classifier, telling_picture(source, 0.1f), 0.1f);
  Optimiser optimiser(classifier, busy());
  const OptimisedMask first = optimiser.run(problem, kSeed, {});
  EXPECT_EQ(backend.recordings, 2) << "soft masks composed, hard masks composed";
  EXPECT_EQ(backend.replays, 7);
  expect_same(first, Optimiser(plain, busy()).run(problem, kSeed, {}), "recorded for real");
  expect_same(optimiser.run(problem, kSeed, {}), first, "a second picture");
  EXPECT_EQ(backend.recordings, 2) << "reused";
  EXPECT_EQ(backend.replays, 16);
}

TEST(BatchOnTape, TooManyAtOnceLeavesTheOptimiserUsable) {
  TapeBackend backend(cpu());
  const auto source = conv_classifier(kSize);
  Classifier classifier(backend, source);
  std::vector<Problem> list(4, problem_for(classifier, telling_picture(source, 0.1f), 0.1f));
  const Recipe r = busy();  // four passes a step
  Optimiser optimiser(classifier, r);
  const OptimisedMask want = optimiser.run(list[0], kSeed, {});
  backend.most_images = 8;
  error_of([&] { optimiser.run(list, kSeed, {}); }, ErrorCode::kOutOfMemory);
  error_of([&] { optimiser.prepare(3); }, ErrorCode::kOutOfMemory);
  const auto two = optimiser.run(std::span(list).first(2), kSeed, {});
  for (const OptimisedMask& m : two) expect_same(m, want, "half as many");
}

}  // namespace
}  // namespace actmatch::test
