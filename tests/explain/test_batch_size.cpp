// How many pictures at once: by arithmetic, and on a backend whose memory is counted.
#include "engine/explain/batch_size.h"

#include "tests/explain/explain_test_util.h"
#include "tests/support/expect_error.h"
#include "tests/support/limited_backend.h"

namespace actmatch::test {
namespace {

constexpr int64_t kSize = 24;

// A device with room for ten million bytes; a picture takes a thousand.
BatchFacts facts() {
  BatchFacts f;
  f.pictures = 100;
  f.preferred = 64;
  f.room = 10'000'000;
  f.fixed = 10'000;
  f.each = 1000;
  return f;
}

TEST(ChooseBatch, KeepsTheDeviceBusyAndNoMore) {
  BatchFacts f = facts();
  EXPECT_EQ(choose_batch(f), 50) << "two batches, of even size";
  f.passes = 4;  // sixteen pictures are 64 images
  EXPECT_EQ(choose_batch(f), 15) << "seven batches";
  f.passes = 5;
  EXPECT_EQ(choose_batch(f), 13) << "of at most thirteen, as 65 images do";
  f.passes = 1000;
  EXPECT_EQ(choose_batch(f), 1);
}

TEST(ChooseBatch, NotMoreThanThereAre) {
  BatchFacts f = facts();
  for (const auto& [pictures, batch] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 1}, {1, 1}, {2, 2}, {63, 63}, {64, 64}, {65, 33}, {128, 64}, {129, 43}, {1'000'000'000, 64}}) {
    f.pictures = pictures;
    EXPECT_EQ(choose_batch(f), batch) << pictures;
  }
}

TEST(ChooseBatch, FitsTheMemory) {
  BatchFacts f = facts();
  int64_t before = 64;
  for (size_t room = 400'000; room >= 50'000; room -= 1000) {
    f.room = room;
    const int64_t batch = choose_batch(f);
    EXPECT_LE(batch, before) << "less memory, fewer pictures";
    EXPECT_TRUE(batch == 1 || f.fixed + f.each * static_cast<size_t>(batch) < room) << room;
    before = batch;
  }
  EXPECT_EQ(before, 1);
  f.room = 1;
  EXPECT_EQ(choose_batch(f), 1);
  f.room = SIZE_MAX;
  f.each = 0;  // cannot be, but must not divide
  EXPECT_EQ(choose_batch(f), 50);
}

TEST(ChooseBatch, OneWhereTheDeviceDoesNotTell) {
  BatchFacts f = facts();
  f.room = 0;
  EXPECT_EQ(choose_batch(f), 1);
}

// Explains `pictures` noise pictures, in batches as BatchSize says, until all are done.
class OnALimitedDevice : public testing::Test {
 protected:
  OnALimitedDevice() : gpu_(cpu()), source_(conv_classifier(kSize)), classifier_(gpu_, source_) {
    recipe_ = load_recipe("one-mask", false);
    recipe_.steps = 3;
    for (uint32_t i = 0; i < 12; ++i) {
      ExplainInput input;
      input.x = telling_picture(source_, 0.1f * static_cast<float>(i), kSize);
      input.colour.assign(3, 0.1f * static_cast<float>(i));
      input.backgrounds.height = input.backgrounds.width = kSize;
      for (int c = 0; c < 3; ++c) input.backgrounds.scale[c] = 0.01, input.backgrounds.offset[c] = -1.2;
      inputs_.push_back(std::move(input));
    }
    settings_.criterion.backgrounds = 4;
  }
  struct Ran {
    std::vector<int64_t> batches;
    std::vector<std::string> notices;
    std::vector<Explainer::Outcome> outcomes;
  };
  Ran run(Explainer& explainer, int64_t asked) {
    Ran ran;
    BatchSize size(explainer, classifier_, asked, static_cast<int64_t>(inputs_.size()));
    for (size_t done = 0; done < inputs_.size();) {
      const auto count = std::min(static_cast<size_t>(size.get()), inputs_.size() - done);
      try {
        for (auto& o : explainer.explain_batch(std::span(inputs_).subspan(done, count), settings_, {}))
          ran.outcomes.push_back(std::move(o));
        ran.batches.push_back(static_cast<int64_t>(count));
        done += count;
      } catch (const Error& e) {
        if (e.code() != ErrorCode::kOutOfMemory) throw;
        ran.notices.push_back(size.reduce());
        if (ran.notices.back().empty()) throw;
      }
    }
    return ran;
  }
  void expect_same(const Ran& a, const Ran& b) {
    ASSERT_EQ(a.outcomes.size(), b.outcomes.size());
    for (size_t i = 0; i < a.outcomes.size(); ++i) {
      EXPECT_EQ(a.outcomes[i].instances[0].mask, b.outcomes[i].instances[0].mask) << i;
      EXPECT_EQ(a.outcomes[i].instances[0].soft, b.outcomes[i].instances[0].soft) << i;
    }
  }

  LimitedBackend gpu_;
  GraphSource source_;
  Classifier classifier_;
  Recipe recipe_;
  ExplainSettings settings_;
  std::vector<ExplainInput> inputs_;
};

TEST_F(OnALimitedDevice, WhatIsChosenFitsAndUsesTheMemory) {
  Explainer explainer(classifier_, recipe_);
  const size_t one = gpu_.used;
  const Ran alone = run(explainer, 1);
  const size_t least = gpu_.most_used;  // with the programs for the checks
  EXPECT_EQ(alone.batches.size(), 12u);
  int64_t before = 1, sizes = 0;
  for (const double factor : {1.3, 2.0, 2.5, 3.0, 4.0, 8.0}) {
    LimitedBackend gpu(cpu());
    Classifier classifier(gpu, source_);
    Explainer fresh(classifier, recipe_);
    gpu.memory = static_cast<size_t>(factor * static_cast<double>(least));
    BatchSize size(fresh, classifier, 0, 12);
    EXPECT_GE(size.get(), before);
    sizes += size.get() > before;
    before = size.get();
    std::vector<ExplainInput> inputs(inputs_.begin(), inputs_.begin() + size.get());
    fresh.explain_batch(inputs, settings_, {});
    EXPECT_EQ(gpu.refusals, 0) << factor;
  }
  EXPECT_EQ(before, 12) << "with plenty of memory all go at once";
  EXPECT_GE(sizes, 2) << "and sizes between were met: " << one << " bytes for one";
}

TEST_F(OnALimitedDevice, TheDeviceMayNotTell) {
  gpu_.tells = false;
  Explainer explainer(classifier_, recipe_);
  EXPECT_EQ(BatchSize(explainer, classifier_, 0, 12).get(), 1);
  EXPECT_EQ(BatchSize(explainer, classifier_, 5, 12).get(), 5) << "but may be told";
  EXPECT_EQ(BatchSize(explainer, classifier_, 50, 12).get(), 12);
}

// What is asked for is too much: half of it, and half of that, with the same results in the end.
TEST_F(OnALimitedDevice, OutOfMemoryHalvesTheBatch) {
  Explainer explainer(classifier_, recipe_);
  const Ran alone = run(explainer, 1);
  run(explainer, 3);  // what checking several pictures takes is there from now on
  gpu_.memory = gpu_.used + (explainer.optimiser()->estimate_bytes(4) - explainer.optimiser()->estimate_bytes(3));
  const Ran ran = run(explainer, 12);
  EXPECT_EQ(ran.batches, (std::vector<int64_t>{3, 3, 3, 3}));
  ASSERT_EQ(ran.notices.size(), 2u);
  EXPECT_NE(ran.notices[0].find("does not hold 12 pictures at once; going on with 6"), std::string::npos) << ran.notices[0];
  EXPECT_NE(ran.notices[1].find("going on with 3"), std::string::npos) << ran.notices[1];
  EXPECT_LE(gpu_.most_used, gpu_.memory);
  expect_same(ran, alone);
}

// Also when it shows only in the checks, after the masks were optimised.
TEST_F(OnALimitedDevice, OutOfMemoryInTheChecksHalvesTheirBatch) {
  Explainer explainer(classifier_, recipe_);
  const Ran want = run(explainer, 1);
  LimitedBackend gpu(cpu());
  Classifier classifier(gpu, source_);
  Explainer small(classifier, recipe_);
  gpu.most_images = 4;  // 16 are preferred
  BatchSize size(small, classifier, 2, 12);
  std::vector<std::string> notices;
  for (;;) {
    try {
      const auto outcome = small.explain_batch(std::span(inputs_).first(1), settings_, {});
      EXPECT_EQ(outcome[0].instances[0].mask, want.outcomes[0].instances[0].mask);
      break;
    } catch (const Error& e) {
      notices.push_back(size.reduce());
      ASSERT_FALSE(notices.back().empty());
    }
  }
  ASSERT_EQ(notices.size(), 3u);
  EXPECT_NE(notices[0].find("2 pictures"), std::string::npos);
  EXPECT_NE(notices[1].find("does not hold 16 masked images at once; going on with 8"), std::string::npos) << notices[1];
  EXPECT_NE(notices[2].find("going on with 4"), std::string::npos) << notices[2];
  EXPECT_EQ(classifier.max_batch(), 4);
}

TEST_F(OnALimitedDevice, InTheEndThereIsNothingLeftToHalve) {
  Explainer explainer(classifier_, recipe_);
  gpu_.memory = gpu_.used;  // no check can run
  expect_error(ErrorCode::kOutOfMemory, {"memory of the device"}, [&] { run(explainer, 2); });
  EXPECT_EQ(classifier_.max_batch(), 1);
  gpu_.memory = SIZE_MAX;
  EXPECT_EQ(run(explainer, 2).batches.size(), 6u) << "and it works again when there is memory";
}

// Another run with an explainer that was used before, or that failed, chooses as a fresh one does.
TEST_F(OnALimitedDevice, ItDoesNotMatterWhatWasBefore) {
  {
    Explainer another(classifier_, recipe_);
    run(another, 1);
  }
  LimitedBackend gpu(cpu());
  Classifier unused(gpu, source_);
  Explainer first(unused, recipe_);
  int64_t fresh = 1;  // on a device that has enough for some, not for all
  gpu.memory = 2 * gpu_.most_used;
  while ((fresh = BatchSize(first, unused, 0, 12).get()) == 1) gpu.memory += gpu.memory / 8;
  ASSERT_LT(fresh, 12);
  const size_t enough = gpu.memory;
  Explainer explainer(classifier_, recipe_);
  gpu_.memory = enough;
  explainer.explain_batch(std::span(inputs_).first(3), settings_, {});
  EXPECT_EQ(explainer.optimiser()->ready(), 3);
  EXPECT_NEAR(static_cast<double>(BatchSize(explainer, classifier_, 0, 12).get()), static_cast<double>(fresh), 1.0);
  gpu_.memory = gpu_.used;
  expect_error(ErrorCode::kOutOfMemory, {"memory"}, [&] { explainer.explain_batch(std::span(inputs_).first(12), settings_, {}); });
  EXPECT_EQ(explainer.optimiser()->ready(), 0);
  gpu_.memory = enough;
  EXPECT_GT(BatchSize(explainer, classifier_, 0, 12).get(), 1);
  EXPECT_EQ(explainer.optimiser()->ready(), 1);
}

TEST_F(OnALimitedDevice, SmallerChecksGiveMemoryBack) {
  std::vector<float> images(static_cast<size_t>(16 * classifier_.image_floats()), 0.5f), z(16 * 4);
  const size_t before = gpu_.used;
  classifier_.logits(z.data(), images.data(), 16);
  classifier_.logits(z.data(), images.data(), 2);
  const size_t all = gpu_.used;
  classifier_.limit_batch(4);
  EXPECT_LT(gpu_.used, all);
  EXPECT_GT(gpu_.used, before) << "the program for two stays";
  const std::vector<float> want = z;
  classifier_.logits(z.data(), images.data(), 16);
  for (size_t i = 0; i < z.size(); ++i) EXPECT_EQ(z[i], want[i % 8]);
}

}  // namespace
}  // namespace actmatch::test
