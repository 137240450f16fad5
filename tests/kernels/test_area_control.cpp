#include "kernels/area_control.h"

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

// One image of 10 pixels and what the classifier said of its masks.
struct Bench {
  AreaState state;
  AreaControl control;
  std::vector<double> fall, hard = Vec(10), best = Vec(10, -1), area{-1}, outcome = Vec(2);
  std::vector<int32_t> top{3}, label{3};
  Vec p_label{0.8};

  void show(int64_t pixels) { std::fill_n(std::fill_n(hard.begin(), pixels, 1.0), 10 - pixels, 0.0); }
  void step(uint32_t t) {
    control.fall_steps = static_cast<int64_t>(fall.size());
    area_control_ref(&state, area.data(), best.data(), outcome.data(), hard.data(), top.data(), p_label.data(), label.data(), fall.data(),
                     &t, control, 1, 10);
  }
};

TEST(AreaControl, FallsByTheTableWhateverHappensThenFollowsTheLabel) {
  Bench a;
  a.fall = {0.9, 0.5, 0.25};
  a.control.shrink = 0.5, a.control.grow = 1.5;
  a.state.least_p = 0.8;
  a.show(9);
  a.top = {2};  // lost
  a.step(1);
  EXPECT_EQ(a.area[0], 0.5);
  EXPECT_EQ(a.outcome, (Vec{9, 0}));
  a.top = {3};
  a.show(5);
  a.step(2);
  EXPECT_EQ(a.area[0], 0.25);
  EXPECT_EQ(a.outcome, (Vec{5, 1})) << "p equal to the least one is enough";
  a.show(3);
  a.step(3);  // the fall is over
  EXPECT_EQ(a.area[0], 0.125);
  a.top = {1};
  a.show(2);
  a.step(4);
  EXPECT_EQ(a.area[0], 0.1875);
  a.step(5), a.step(6), a.step(7);  // 0.28125, 0.421875, 0.6328125, but the best mask has 3 pixels of 10
  EXPECT_EQ(a.area[0], 1.6 * 0.3);
}

TEST(AreaControl, BestIsTheSmallestThatWasKeptTheFirstOfEquals) {
  Bench a;
  a.fall = {1.0};
  a.state.least_p = 0.5;
  const auto after = [&](int64_t pixels, double p) {
    a.show(pixels), a.p_label = {p};
    a.step(1);
    return a.state.best_pixels;
  };
  EXPECT_EQ(after(4, 0.4), 0);
  EXPECT_EQ(a.best[0], -1);
  EXPECT_EQ(after(10, 0.6), 10);
  EXPECT_EQ(after(6, 0.6), 6);
  EXPECT_EQ(a.best, (Vec{1, 1, 1, 1, 1, 1, 0, 0, 0, 0}));
  EXPECT_EQ(after(7, 0.6), 6);
  EXPECT_EQ(after(0, 0.6), 6) << "nothing is no explanation";
  std::reverse(a.hard.begin(), a.hard.end());
  a.show(6), std::reverse(a.hard.begin(), a.hard.end());
  a.step(1);
  EXPECT_EQ(a.best[0], 1) << "as many pixels are not fewer";
  a.control.may_be_best = false;
  EXPECT_EQ(after(2, 0.6), 6) << "a mask that was not shown";
  EXPECT_EQ(a.outcome, (Vec{2, 1}));
}

TEST(AreaControl, CeilingHoldsInTheFallAndAfterIt) {
  Bench a;
  a.fall = {0.9, 0.8};
  a.state.ceiling = 0.3, a.control.grow = 2;
  a.top = {0};
  a.step(1);
  EXPECT_EQ(a.area[0], 0.3);
  a.step(2);
  EXPECT_EQ(a.area[0], 0.3);
}

TEST(AreaControl, RobustRunsAskTheRandomBackgroundsToo) {
  Bench a;
  a.fall = {1.0};
  a.control.robust = 3, a.control.needed = 2;
  a.p_label = {0.9, 0, 0, 0};  // p counts on the baseline alone
  a.show(5);
  for (const auto& [top, kept] : std::vector<std::pair<std::vector<int32_t>, double>>{
           {{3, 3, 3, 3}, 1}, {{3, 0, 3, 3}, 1}, {{3, 0, 3, 1}, 0}, {{0, 3, 3, 3}, 0}, {{-1, 3, 3, 3}, 0}}) {
    a.top = top;
    a.step(1);
    EXPECT_EQ(a.outcome[1], kept);
  }
  a.control.needed = 0;
  a.top = {3, 0, 0, 0};
  a.step(1);
  EXPECT_EQ(a.outcome[1], 1);
}

TEST(AreaControl, WithoutScheduleTheAreaStays) {
  Bench a;
  a.state.area = 0.7;
  a.show(5);
  const uint32_t t = 1;
  area_control_ref(&a.state, a.area.data(), a.best.data(), a.outcome.data(), a.hard.data(), a.top.data(), a.p_label.data(), a.label.data(),
                   nullptr, &t, a.control, 1, 10);
  EXPECT_EQ(a.area[0], -1);
  EXPECT_EQ(a.state.area, 0.7);
  EXPECT_EQ(a.state.best_pixels, 5);
}

TEST(AreaControl, ImagesOfABatchAreTheirOwn) {
  constexpr int64_t B = 3, HW = 8, R = 2;
  RandomVectors random(70);
  std::vector<AreaState> states(B);
  Vec hard(B * HW), best(B * HW), area(B), outcome(2 * B), p = random.uniform((1 + R) * B, 0, 1);
  std::vector<int32_t> label{0, 1, 2}, top;
  for (int64_t i = 0; i < (1 + R) * B; ++i) top.push_back(static_cast<int32_t>(i % 4 ? i % B : 0));
  for (double& v : hard) v = static_cast<double>(random.integer(0, 1));
  for (AreaState& s : states) s.ceiling = random.uniform(1, 0.2, 1)[0], s.least_p = 0.3;
  const Vec fall{1, 0.5};
  AreaControl control{0.9, 1.1, 2, R, 1, true};
  const auto before = states;
  const uint32_t t = 2;
  area_control_ref(states.data(), area.data(), best.data(), outcome.data(), hard.data(), top.data(), p.data(), label.data(), fall.data(),
                   &t, control, B, HW);
  for (int64_t b = 0; b < B; ++b) {
    const auto at = static_cast<size_t>(b);
    AreaState one = before[at];
    Vec one_best(HW), one_area(1), one_outcome(2), one_p;
    std::vector<int32_t> one_top;
    for (int64_t r = 0; r <= R; ++r)
      one_p.push_back(p[static_cast<size_t>(r * B + b)]), one_top.push_back(top[static_cast<size_t>(r * B + b)]);
    area_control_ref(&one, one_area.data(), one_best.data(), one_outcome.data(), &hard[at * HW], one_top.data(), one_p.data(), &label[at],
                     fall.data(), &t, control, 1, HW);
    EXPECT_EQ(one_area[0], area[at]);
    EXPECT_EQ(one.best_pixels, states[at].best_pixels);
    EXPECT_EQ(one_outcome, (Vec{outcome[2 * at], outcome[2 * at + 1]}));
    EXPECT_EQ(one_best, Vec(best.begin() + b * HW, best.begin() + (b + 1) * HW));
  }
}

}  // namespace
}  // namespace actmatch::kernels
