#include "engine/explain/together.h"

#include <atomic>
#include <deque>
#include <thread>

#include "engine/explain/prune.h"
#include "tests/explain/explain_test_util.h"

namespace actmatch::test {
namespace {

constexpr size_t kPictures = 5;

struct Bench {
  GraphSource source = conv_classifier(8);
  Classifier classifier{cpu(), source};
  std::vector<Problem> problems;
  std::deque<FeasibilityChecker> checkers;
  int64_t batches = 0;
  explicit Bench(const Criterion& criterion = {}) {
    for (size_t i = 0; i < kPictures; ++i)
      problems.push_back(problem_for(classifier, telling_picture(source, 0.1f * static_cast<float>(i)), 0.1f, criterion));
    for (const Problem& p : problems) checkers.emplace_back(classifier, p);
    classifier.before_each_batch([this] { ++batches; });
  }
  HardMask mask(size_t i) const { return random_mask(8, 8, 40 + static_cast<uint32_t>(i), 0.3 + 0.1 * static_cast<double>(i)); }
};

const std::function<void()> kNothing = [] {};

// Different numbers of questions of both kinds, as prune_mask asks them.
TEST(Together, AnswersAreThoseOfSingleQuestions) {
  Bench b({true, 0.5, 0.6, 7});
  struct Found {
    std::vector<std::vector<float>> numbers;
    std::vector<std::vector<bool>> verdicts;
  };
  const auto work = [&](size_t i, Found& found) {
    constexpr kernels::RandomStream kPrune[] = {kernels::RandomStream::kPrune};
    FeasibilityChecker& checker = b.checkers[i];
    std::vector<HardMask> masks;
    for (size_t k = 0; k <= i; ++k) {
      masks.push_back(b.mask(k));
      found.numbers.push_back(checker.odds_gain(masks.back()));
      found.numbers.push_back(checker.importance(masks.back(), kPrune[0]));
      found.numbers.push_back(checker.margins(masks.back(), kPrune[0]));
      found.verdicts.push_back(checker.feasible(masks, kPrune));
    }
  };
  std::vector<Found> alone(kPictures), together(kPictures);
  for (size_t i = 0; i < kPictures; ++i) work(i, alone[i]);
  work_together(
      b.classifier, kPictures,
      [&](size_t i, MaskedAnswers& answers) {
        b.checkers[i].ask(&answers);
        work(i, together[i]);
      },
      kNothing);
  for (size_t i = 0; i < kPictures; ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(together[i].verdicts, alone[i].verdicts);
    ASSERT_EQ(together[i].numbers.size(), alone[i].numbers.size());
    for (size_t n = 0; n < alone[i].numbers.size(); ++n) {
      ASSERT_EQ(together[i].numbers[n].size(), alone[i].numbers[n].size());
      // Batches of another size may take other algorithms: values of order 1, sums of under 100 terms.
      for (size_t k = 0; k < alone[i].numbers[n].size(); ++k) EXPECT_NEAR(together[i].numbers[n][k], alone[i].numbers[n][k], 1e-5);
    }
  }
}

TEST(Together, QuestionsShareBatches) {
  Bench b;
  ASSERT_GE(b.classifier.max_batch(), static_cast<int64_t>(kPictures)) << "or they do not fit into one";
  const auto ask = [&](size_t i) { b.checkers[i].baseline(std::vector<HardMask>{b.mask(i)}); };
  work_together(
      b.classifier, kPictures,
      [&](size_t i, MaskedAnswers& answers) {
        b.checkers[i].ask(&answers);
        for (int n = 0; n < 3; ++n) ask(i);
      },
      kNothing);
  EXPECT_EQ(b.batches, 3 * 2) << "three times five images: four and one";
  b.batches = 0;
  for (size_t i = 0; i < kPictures; ++i) {
    b.checkers[i].ask(nullptr);
    ask(i);
  }
  EXPECT_EQ(b.batches, 5);
}

TEST(Together, TheDeviceIsSeenByOneThread) {
  Bench b;
  const auto caller = std::this_thread::get_id();
  std::atomic<int> elsewhere = 0, works = 0;
  b.classifier.before_each_batch([&] { elsewhere += std::this_thread::get_id() != caller; });
  int before = 0;
  work_together(
      b.classifier, kPictures,
      [&](size_t i, MaskedAnswers& answers) {
        b.checkers[i].ask(&answers);
        works += std::this_thread::get_id() != caller;
        for (size_t n = 0; n < i; ++n) b.checkers[i].baseline(std::vector<HardMask>{b.mask(i)});
      },
      [&] {
        elsewhere += std::this_thread::get_id() != caller;
        ++before;
      });
  EXPECT_EQ(elsewhere, 0);
  EXPECT_EQ(works, 5);
  EXPECT_EQ(before, 4) << "as often as the one who asks most; the one who asks nothing holds nobody up";
}

TEST(Together, WhatOneThrowsEndsAll) {
  Bench b;
  std::atomic<int> ended = 0;
  const auto run = [&](const std::function<void(size_t)>& each, const std::function<void()>& before) {
    ended = 0;
    work_together(
        b.classifier, kPictures,
        [&](size_t i, MaskedAnswers& answers) {
          struct Leaving {
            std::atomic<int>& count;
            ~Leaving() { ++count; }
          } const leaving{ended};
          b.checkers[i].ask(&answers);
          for (;;) {
            each(i);
            b.checkers[i].baseline(std::vector<HardMask>{b.mask(i)});
          }
        },
        before);
  };
  error_of(
      [&] {
        run(
            [](size_t i) {
              if (i == 3) throw Error(ErrorCode::kInternal, "the fourth");
            },
            kNothing);
      },
      ErrorCode::kInternal);
  EXPECT_EQ(ended, 5);
  int rounds = 0;
  error_of(
      [&] {
        run([](size_t) {},
            [&] {
              if (++rounds == 4) throw Error(ErrorCode::kCancelled, "stopped");
            });
      },
      ErrorCode::kCancelled);
  EXPECT_EQ(ended, 5);
  b.classifier.before_each_batch([] { throw Error(ErrorCode::kOutOfMemory, "full"); });
  error_of([&] { run([](size_t) {}, kNothing); }, ErrorCode::kOutOfMemory);
  EXPECT_EQ(ended, 5);
}

TEST(Together, NothingToDo) {
  Bench b;
  work_together(
      b.classifier, 0, [](size_t, MaskedAnswers&) { FAIL(); }, kNothing);
  std::atomic<int> works = 0;
  work_together(
      b.classifier, 3, [&](size_t, MaskedAnswers&) { ++works; }, [] { FAIL() << "nobody asks"; });
  EXPECT_EQ(works, 3);
}

}  // namespace
}  // namespace actmatch::test
