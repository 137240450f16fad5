// The whole loop on the CUDA backend in the emulator, recorded as a CUDA graph and replayed, beside the same on the CPU.
#include "tests/explain/busy_recipe.h"
#include "tests/simt/host.h"
#include "tests/support/expect_error.h"
#include "tests/support/tested_backend.h"

namespace actmatch::test {
namespace {

class EmulatedExplain : public ::testing::Test {
 protected:
  GraphSource source_ = conv_classifier(kSize);
  Classifier classifier_{tested_backend(), source_}, reference_{cpu(), source_};

  std::vector<Problem> problems(Classifier& classifier, size_t count) {
    std::vector<Problem> list;
    for (size_t i = 0; i < count; ++i) {
      auto x = telling_picture(source_, 0.1f * static_cast<float>(i));
      for (float& v : x) v *= 1.0f - 0.2f * static_cast<float>(i);
      list.push_back(problem_for(classifier, x, 0.1f * static_cast<float>(i), {}, i == 1 ? 2 : -1));
    }
    return list;
  }
};

// fp32: rounding of 1e-7 in another order, made larger by nine steps of Adam. bf16 gives the networks three digits, and what follows is
// another path to about the same place.
TEST_F(EmulatedExplain, TheLoopIsTheCpus) {
  const bool rough = tested_backend().precision() == Precision::kBf16;
  for (const std::string generator : {"grid", "csae", "unet"}) {
    SCOPED_TRACE(generator);
    const Problem here = problems(classifier_, 1)[0], there = problems(reference_, 1)[0];
    Optimiser optimiser(classifier_, busy(generator)), expected(reference_, busy(generator));
    const OptimisedMask got = optimiser.run(here, kSeed, {}), want = expected.run(there, kSeed, {});
    expect_close(got, want, "picture", rough ? 0.25 : 1e-3);
    expect_same(optimiser.run(here, kSeed, {}), got, "again, replayed from the start");
  }
}

TEST_F(EmulatedExplain, PicturesGetTheSameBitsAloneAndTogether) {
  const auto list = problems(classifier_, 3);
  for (const std::string generator : {"grid", "csae", "unet"}) {
    SCOPED_TRACE(generator);
    const auto together = Optimiser(classifier_, busy(generator), 3).run(list, kSeed, {});
    Optimiser alone(classifier_, busy(generator));
    for (size_t i = 0; i < list.size(); ++i) expect_same(together[i], alone.run(list[i], kSeed, {}), "picture " + std::to_string(i));
  }
}

// What is claimed of the mask holds on the CPU too.
TEST_F(EmulatedExplain, ClaimsHoldOnTheCpu) {
  for (const bool robust : {false, true}) {
    ExplainSettings settings;
    settings.criterion = {robust, 0.3, 0.7, 8};
    settings.prune.tile = 2;
    const Problem p = problems(classifier_, 1)[0];
    const ExplainInput input{p.x, p.colour, p.backgrounds, -1, p.image_index};
    const auto outcome = Explainer(classifier_, busy()).explain(input, settings, {});
    ASSERT_EQ(outcome.instances.size(), 1u);
    const Explanation& e = outcome.instances[0];
    EXPECT_TRUE(e.feasible);
    EXPECT_GT(e.area, 0);
    EXPECT_LT(e.area, 1);
    Probe probe(source_);
    const auto scores = softmax_of(probe.logits(blend(p.x, e.mask, colour_image(input))));
    const double close = tested_backend().precision() == Precision::kBf16 ? 0.03 : 1e-4;
    EXPECT_NEAR(e.p_e, scores[static_cast<size_t>(outcome.label)], close);
    EXPECT_EQ(std::max_element(scores.begin(), scores.end()) - scores.begin(), outcome.label);
  }
}

TEST_F(EmulatedExplain, TooLargeABatchLeavesTheOptimiserUsable) {
  const auto list = problems(classifier_, 3);
  Optimiser optimiser(classifier_, busy("csae"));
  const OptimisedMask want = optimiser.run(list[0], kSeed, {});
  const size_t one = optimiser.estimate_bytes(1), six = optimiser.estimate_bytes(6);
  EXPECT_GT(six, one);
  simt::limit_memory(simt::allocated_bytes() + (six - one) / 3);
  expect_error(ErrorCode::kOutOfMemory, {"smaller batch"}, [&] { optimiser.prepare(6); });
  expect_same(optimiser.run(list[0], kSeed, {}), want, "alone again");
  simt::limit_memory(SIZE_MAX);
}

}  // namespace
}  // namespace actmatch::test
