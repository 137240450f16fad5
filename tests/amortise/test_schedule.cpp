#include "engine/amortise/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace actmatch::test {
namespace {

TEST(Schedule, EveryEpochShowsEveryPictureInAnotherOrder) {
  PictureOrder order(50, 7), again(50, 7), other(50, 8);
  std::vector<std::vector<int64_t>> epochs(3);
  for (int64_t i = 0; i < 150; ++i) epochs[static_cast<size_t>(i / 50)].push_back(order.at(i));
  for (const auto& epoch : epochs) EXPECT_EQ(std::set<int64_t>(epoch.begin(), epoch.end()).size(), 50u);
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
  for (int64_t i : {149, 3, 77}) EXPECT_EQ(again.at(i), order.at(i)) << "from any place on";
  int64_t same = 0;
  for (int64_t i = 0; i < 50; ++i) same += other.at(i) == epochs[0][static_cast<size_t>(i)];
  EXPECT_LT(same, 10) << "one is expected of two orders by chance";
}

TEST(Schedule, AreasAreOneFromEachPartOfTheRange) {
  AreaSchedule schedule;
  schedule.start = 0.64, schedule.end = 0.04;  // a factor of 16: four parts of a factor of 2
  std::set<double> seen;
  for (int64_t step = 1; step <= 20; ++step) {
    const auto areas = drawn_areas(schedule, 4, 3, step);
    ASSERT_EQ(areas.size(), 4u);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_GT(areas[i], 0.04 * std::pow(2.0, static_cast<double>(i)));
      EXPECT_LT(areas[i], 0.04 * std::pow(2.0, static_cast<double>(i + 1)));
      seen.insert(areas[i]);
    }
    EXPECT_EQ(areas, drawn_areas(schedule, 4, 3, step));
  }
  EXPECT_EQ(seen.size(), 80u) << "other areas in each step";
  const auto fixed = fixed_areas(schedule, 100, 0);
  EXPECT_EQ(fixed_areas(schedule, 3, 40), std::vector<double>(fixed.begin() + 40, fixed.begin() + 43)) << "whatever the batches are";
  for (double part : {0.04, 0.08, 0.16, 0.32})  // evenly in the logarithm
    EXPECT_NEAR(std::count_if(fixed.begin(), fixed.end(), [&](double a) { return a >= part && a < 2 * part; }), 25, 2);
}

TEST(Schedule, LearningRateRisesAndFalls) {
  EXPECT_DOUBLE_EQ(learning_rate_at(2, 1, 1000), 2 / 50.0);
  EXPECT_DOUBLE_EQ(learning_rate_at(2, 501, 1000), 1) << "half way along the cosine";
  double highest = 0;
  for (int64_t t = 1; t <= 1000; ++t) highest = std::max(highest, learning_rate_at(2, t, 1000));
  EXPECT_GT(highest, 1.98);
  EXPECT_LE(highest, 2);
  EXPECT_LT(learning_rate_at(2, 1000, 1000), 2e-5);
  EXPECT_DOUBLE_EQ(learning_rate_at(2, 1, 1), 2) << "the only step is a whole one";
}

}  // namespace
}  // namespace actmatch::test
