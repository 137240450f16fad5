#include "engine/evaluate/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace actmatch {
namespace {

TEST(Statistics, OfAFewFigures) {
  EXPECT_EQ(statistics_of({}).count, 0);
  const Statistics one = statistics_of({3});
  EXPECT_EQ(one.mean, 3);
  EXPECT_EQ(one.median, 3);
  EXPECT_EQ(one.low, 3);
  EXPECT_EQ(one.high, 3);
  const Statistics four = statistics_of({4, 1, 10, 3});
  EXPECT_EQ(four.count, 4);
  EXPECT_DOUBLE_EQ(four.mean, 4.5);
  EXPECT_DOUBLE_EQ(four.median, 3.5);
  EXPECT_LE(four.low, four.mean);
  EXPECT_GE(four.high, four.mean);
  EXPECT_GE(four.low, 1);
  EXPECT_LE(four.high, 10);
  const Statistics equal = statistics_of({2, 2, 2});
  EXPECT_EQ(equal.low, 2);
  EXPECT_EQ(equal.high, 2);
}

TEST(Statistics, QuantilesLieBetweenNeighbours) {
  EXPECT_DOUBLE_EQ(quantile_of({0, 10}, 0.25), 2.5);
  EXPECT_DOUBLE_EQ(quantile_of({1, 2, 4}, 1), 4);
  EXPECT_DOUBLE_EQ(quantile_of({7}, 0.9), 7);
}

// Of many normal figures the bootstrap's interval must come near to the textbook's, mean +- 1.96 s / sqrt(n). 2000 samples put a percentile
// within about 5 % of the interval's half width (standard error of a 2.5 % quantile); 15 % is three of those.
TEST(Statistics, TheIntervalIsTheTextbooksForNormalFigures) {
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal(5, 2);
  std::vector<double> values(400);
  for (double& v : values) v = normal(random);
  const Statistics s = statistics_of(values);
  double squares = 0;
  for (double v : values) squares += (v - s.mean) * (v - s.mean);
  const double half = 1.96 * std::sqrt(squares / 400 / 400);
  EXPECT_NEAR(s.low, s.mean - half, 0.15 * half);
  EXPECT_NEAR(s.high, s.mean + half, 0.15 * half);
}

TEST(Statistics, TheOrderOfTheFiguresMakesNoDifference) {
  const Statistics a = statistics_of({1, 5, 2, 8, 3}), b = statistics_of({8, 3, 1, 2, 5});
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_EQ(a.mean, b.mean);
}

}  // namespace
}  // namespace actmatch
