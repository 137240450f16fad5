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
  const std::vector<SelectJob> jobs{{0, -1, 0}, {1, -1, 0}, {0, 0, 1}, {1, 2, 0}};
  Vec out(4 * 6);
  select_compose_ref(out.data(), b.sources, jobs.data(), false, 4, 2, 3);
  EXPECT_EQ(out, (Vec{1, -1, 3, 4, -2, 6, -1, 2, 3, -2, 5, 6, 1, 17, 3, 4, 20, 6, 100, 2, 3, 103, 5, 6}));
  select_compose_ref(out.data(), b.sources, jobs.data(), true, 2, 2, 3);
  EXPECT_EQ(Vec(out.begin(), out.begin() + 12), (Vec{-1, 2, -1, -2, 5, -2, 1, -1, -1, 4, -2, -2})) << "the complement";
}

TEST(SelectCompose, GainIsTheFirstOrderChange) {
  Bench b;
  const std::vector<SelectJob> jobs{{0, -1, 0}, {1, 0, 0}};
  const Vec gradient{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  // x - colour: 2 3 4, 6 7 8; x - first[0]: -9 -9 -9, -9 -9 -9
  Vec gain(3, NAN);
  select_gain_ref(gain.data(), gradient.data(), b.sources, jobs.data(), 1.0, false, 2, 2, 3, false);
  EXPECT_EQ(gain, (Vec{2 + 24 - 9 * 17, 6 + 35 - 9 * 19, 12 + 48 - 9 * 21}));
  select_gain_ref(gain.data(), gradient.data(), b.sources, jobs.data(), -1.0, true, 2, 2, 3, false);
  EXPECT_EQ(gain, (Vec{-26, 9 * 19, -60 + 9 * 21})) << "of each job only the pixels inside its mask";
  select_gain_ref(gain.data(), gradient.data(), b.sources, jobs.data(), -1.0, true, 1, 2, 3, true);
  EXPECT_EQ(gain, (Vec{-52, 9 * 19, -120 + 9 * 21}));
}

TEST(SelectCompose, SourcesKeepTheirBits) {
  Bench b;
  b.x[0] = 0.1 + 0.2;
  const SelectJob job{0, -1, 0};
  Vec out(6);
  select_compose_ref(out.data(), b.sources, &job, false, 1, 2, 3);
  EXPECT_EQ(out[0], b.x[0]);
}

}  // namespace
}  // namespace actmatch::kernels
