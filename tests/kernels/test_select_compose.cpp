#include "kernels/select_compose.h"

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

struct Bench {
  // Two channels of three pixels, two masks, two sets of two backgrounds.
  Vec x{1, 2, 3, 4, 5, 6}, colour{-1, -2};
  std::vector<uint8_t> masks{1, 0, 1, 0, 1, 1};
  Vec first, second;
  SelectSources<double> sources;
  Bench() {
    for (int i = 0; i < 12; ++i) first.push_back(10 + i), second.push_back(100 + i);
    sources.x = x.data(), sources.colour = colour.data(), sources.masks = masks.data();
    sources.sets[0] = first.data(), sources.sets[2] = second.data();
  }
};

TEST(SelectCompose, JobsNameMaskAndBackground) {
  Bench b;
  const std::vector<SelectJob> jobs{{0, -1, 0, {}}, {1, -1, 0, {}}, {0, 0, 1, {}}, {1, 2, 0, {}}};
  Vec out(4 * 6);
  select_compose_ref(out.data(), b.sources, jobs.data(), false, 4, 2, 1, 3);
  EXPECT_EQ(out, (Vec{1, -1, 3, 4, -2, 6, -1, 2, 3, -2, 5, 6, 1, 17, 3, 4, 20, 6, 100, 2, 3, 103, 5, 6}));
  select_compose_ref(out.data(), b.sources, jobs.data(), true, 2, 2, 1, 3);
  EXPECT_EQ(Vec(out.begin(), out.begin() + 12), (Vec{-1, 2, -1, -2, 5, -2, 1, -1, -1, 4, -2, -2})) << "the complement";
}

TEST(SelectCompose, GainIsTheFirstOrderChange) {
  Bench b;
  const std::vector<SelectJob> jobs{{0, -1, 0, {}}, {1, 0, 0, {}}};
  const Vec gradient{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  // x - colour: 2 3 4, 6 7 8; x - first[0]: -9 -9 -9, -9 -9 -9
  Vec gain(3, NAN);
  select_gain_ref(gain.data(), gradient.data(), b.sources, jobs.data(), 1.0, false, 2, 2, 1, 3, false);
  EXPECT_EQ(gain, (Vec{2 + 24 - 9 * 17, 6 + 35 - 9 * 19, 12 + 48 - 9 * 21}));
  select_gain_ref(gain.data(), gradient.data(), b.sources, jobs.data(), -1.0, true, 2, 2, 1, 3, false);
  EXPECT_EQ(gain, (Vec{-26, 9 * 19, -60 + 9 * 21})) << "of each job only the pixels inside its mask";
  select_gain_ref(gain.data(), gradient.data(), b.sources, jobs.data(), -1.0, true, 1, 2, 1, 3, true);
  EXPECT_EQ(gain, (Vec{-52, 9 * 19, -120 + 9 * 21}));
}

// Without a box is what a mask without those pixels gives.
TEST(SelectCompose, ABoxIsLeftOut) {
  RandomVectors random(71);
  const int64_t H = 5, W = 7, HW = H * W, C = 2;
  const Vec x = random.normal(C * HW), set = random.normal(C * HW), gradient = random.normal(C * HW), colour = random.normal(C);
  std::vector<uint8_t> masks(2 * HW);
  for (int64_t i = 0; i < HW; ++i) masks[size_t(i)] = masks[size_t(HW + i)] = i % 3 != 1;
  for (const PixelBox& box : {PixelBox{1, 2, 4, 5}, {0, 0, 1, 1}, {4, 6, 5, 7}, {0, 0, 5, 7}, {2, 3, 2, 6}, {}}) {
    for (int64_t y = 0; y < H; ++y)
      for (int64_t p = 0; p < W; ++p)
        masks[size_t(HW + y * W + p)] = masks[size_t(y * W + p)] && !(y >= box.top && y < box.bottom && p >= box.left && p < box.right);
    const SelectSources<double> sources{x.data(), colour.data(), masks.data(), {set.data()}};
    for (const int32_t background : {-1, 0}) {
      const SelectJob without{0, background, 0, box}, copied{1, background, 0, {}};
      for (const bool complement : {false, true}) {
        Vec got(size_t(C * HW)), want(got);
        select_compose_ref(got.data(), sources, &without, complement, 1, C, H, W);
        select_compose_ref(want.data(), sources, &copied, complement, 1, C, H, W);
        EXPECT_EQ(got, want);
      }
      Vec got(size_t{35}), want(got);
      select_gain_ref(got.data(), gradient.data(), sources, &without, 1.0, true, 1, C, H, W, false);
      select_gain_ref(want.data(), gradient.data(), sources, &copied, 1.0, true, 1, C, H, W, false);
      EXPECT_EQ(got, want);
    }
  }
}

TEST(SelectCompose, SourcesKeepTheirBits) {
  Bench b;
  b.x[0] = 0.1 + 0.2;
  const SelectJob job{0, -1, 0, {}};
  Vec out(6);
  select_compose_ref(out.data(), b.sources, &job, false, 1, 2, 1, 3);
  EXPECT_EQ(out[0], b.x[0]);
}

}  // namespace
}  // namespace actmatch::kernels
