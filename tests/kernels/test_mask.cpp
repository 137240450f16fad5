#include "kernels/mask.h"

#include <limits>
#include <numeric>

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

TEST(Mask, ActivateIsTheSigmoidOfTheScaledDistance) {
  RandomVectors random(1);
  const int64_t B = 3, HW = 37;
  const Vec s = random.normal(B * HW, 3), t{-0.5, 0, 1.25}, inverse{1, 4, 0.25};
  Vec m(s.size());
  mask_activate_ref(m.data(), s.data(), t.data(), inverse.data(), B, HW);
  std::vector<float> m32(s.size());
  mask_activate_ref(m32.data(), as<float>(s).data(), as<float>(t).data(), as<float>(inverse).data(), B, HW);
  for (size_t i = 0; i < s.size(); ++i) {
    const size_t b = i / HW;
    const double z = (s[i] - t[b]) * inverse[b];
    EXPECT_NEAR(m[i], 0.5 + 0.5 * std::tanh(z / 2), 1e-14);  // the same function by another formula; a few roundings of numbers up to 1
    EXPECT_NEAR(m32[i], m[i], 2e-6);                         // z up to 50 carries 3e-6 of rounding, times the slope of at most 1/4
  }
}

TEST(Mask, ActivateSaturatesWithoutNaN) {
  const float far = std::numeric_limits<float>::max();
  const std::vector<float> s{-far, -1000, 1000, far}, t{0}, inverse{1};
  std::vector<float> m(4), ds(4), dm(4, 1.0f);
  mask_activate_ref(m.data(), s.data(), t.data(), inverse.data(), 1, 4);
  EXPECT_LT(m[0], 1e-30f);
  EXPECT_LT(m[1], 1e-30f);
  EXPECT_EQ(m[2], 1.0f);
  EXPECT_EQ(m[3], 1.0f);
  mask_activate_backward_ref(ds.data(), dm.data(), m.data(), inverse.data(), 1, 4, false);
  for (float g : ds) EXPECT_LT(std::abs(g), 1e-30f);
}

TEST(Mask, ActivateGradient) {
  RandomVectors random(2);
  for (int64_t HW : {1, 7, 33}) {
    const int64_t B = 2;
    const Vec s = random.normal(B * HW), u = random.normal(B * HW), t{0.3, -0.2}, inverse{2, 0.7};
    Vec m(s.size()), ds(s.size(), 5.0);
    const auto f = [&](const Vec& at) {
      Vec out(at.size());
      mask_activate_ref(out.data(), at.data(), t.data(), inverse.data(), B, HW);
      return std::inner_product(out.begin(), out.end(), u.begin(), 0.0);
    };
    mask_activate_ref(m.data(), s.data(), t.data(), inverse.data(), B, HW);
    mask_activate_backward_ref(ds.data(), u.data(), m.data(), inverse.data(), B, HW, false);
    expect_gradient(f, s, ds, "mask_activate");
    Vec twice = ds;
    mask_activate_backward_ref(twice.data(), u.data(), m.data(), inverse.data(), B, HW, true);
    for (size_t i = 0; i < ds.size(); ++i) EXPECT_DOUBLE_EQ(twice[i], 2 * ds[i]);
  }
}

TEST(Mask, HardMaskIsStrict) {
  const std::vector<float> s{0.9f, 1.0f, 1.1f, 0, -1, 1}, t{1.0f, -0.5f};
  std::vector<float> h(6);
  hard_mask_ref(h.data(), s.data(), t.data(), 2, 3);
  EXPECT_EQ(h, (std::vector<float>{0, 0, 1, 1, 0, 1}));
}

TEST(Mask, TopCountMeansWhatTheFractionSays) {
  EXPECT_EQ(top_count(0.1f, 1000), 100);  // 0.1f is above 1/10, but it is meant
  EXPECT_EQ(top_count(0.1, 1001), 101);
  EXPECT_EQ(top_count(1.0, 50176), 50176);
  EXPECT_EQ(top_count(0.05f, 50176), 2509);
  EXPECT_EQ(top_count(1e-9, 50176), 1);
  EXPECT_EQ(top_count(0, 10), 0);
  EXPECT_EQ(top_count(-1, 10), 0);
  EXPECT_EQ(top_count(7, 10), 10);
  EXPECT_EQ(top_count(std::numeric_limits<double>::quiet_NaN(), 10), 0);
}

template <class T>
class TopFraction : public testing::Test {};
using Precisions = testing::Types<float, double>;
TYPED_TEST_SUITE(TopFraction, Precisions);

// The same by sorting indices: larger value first, then lower index.
template <class T>
std::vector<T> sorted_top(const std::vector<T>& s, int64_t k) {
  std::vector<size_t> order(s.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return s[a] > s[b]; });
  std::vector<T> h(s.size(), T(0));
  for (int64_t i = 0; i < k; ++i) h[order[static_cast<size_t>(i)]] = T(1);
  return h;
}

TYPED_TEST(TopFraction, AgreesWithSortingAlsoWithTies) {
  using T = TypeParam;
  RandomVectors random(3);
  for (int trial = 0; trial < 60; ++trial) {
    const int64_t n = random.integer(1, 500);
    std::vector<T> s = as<T>(random.normal(n, trial % 3 == 0 ? 1e-3 : 10));
    if (trial % 2) {
      for (T& v : s) v = std::round(v / 4);  // few distinct values: many ties, both zeros among them
    }
    for (double fraction : {0.0, 0.01, 0.3, 0.5, 0.97, 1.0}) {
      const std::vector<T> area{static_cast<T>(fraction)};
      std::vector<T> h(s.size(), T(9)), t(1);
      top_fraction_mask_ref(h.data(), t.data(), s.data(), area.data(), 1, n);
      const int64_t k = top_count(fraction, n);
      ASSERT_EQ(h, sorted_top(s, k)) << "n " << n << " k " << k;
      // The threshold lies between kept and dropped.
      T kept = std::numeric_limits<T>::infinity(), dropped = -kept;
      for (size_t i = 0; i < s.size(); ++i) (h[i] != 0 ? kept = std::min(kept, s[i]) : dropped = std::max(dropped, s[i]));
      if (k > 0) {
        EXPECT_LE(t[0], kept);
      }
      if (k < n) {
        EXPECT_GE(t[0], dropped);
      }
      if (k > 0 && k < n) {
        EXPECT_EQ(t[0], kept / 2 + dropped / 2);
      }
    }
  }
}

TYPED_TEST(TopFraction, ConstantMapGivesExactlyTheFirstPixels) {
  using T = TypeParam;
  for (T value : {T(0), T(-3.5), T(1e-30)}) {
    const std::vector<T> s(100, value), area{T(0.25)};
    std::vector<T> h(100), t(1);
    top_fraction_mask_ref(h.data(), t.data(), s.data(), area.data(), 1, 100);
    for (size_t i = 0; i < 100; ++i) EXPECT_EQ(h[i], i < 25 ? T(1) : T(0));
    EXPECT_EQ(t[0], value);
  }
}

TYPED_TEST(TopFraction, ImagesAreIndependentAndOutputsOptional) {
  using T = TypeParam;
  const std::vector<T> s{1, 2, 3, 4, -4, -3, -2, -1}, area{T(0.5), T(0.25)};
  std::vector<T> h(8), t(2);
  top_fraction_mask_ref(h.data(), t.data(), s.data(), area.data(), 2, 4);
  EXPECT_EQ(h, (std::vector<T>{0, 0, 1, 1, 0, 0, 0, 1}));
  EXPECT_EQ(t, (std::vector<T>{T(2.5), T(-1.5)}));
  std::vector<T> only_h(8), only_t(2);
  top_fraction_mask_ref<T>(only_h.data(), nullptr, s.data(), area.data(), 2, 4);
  top_fraction_mask_ref<T>(nullptr, only_t.data(), s.data(), area.data(), 2, 4);
  EXPECT_EQ(only_h, h);
  EXPECT_EQ(only_t, t);
}

TYPED_TEST(TopFraction, SpecialValuesHaveAPlace) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> s{nan, -inf, T(-0.0), 0, inf, -nan};
  const std::vector<std::vector<T>> expected{{0, 0, 0, 0, 1, 0}, {0, 0, 1, 0, 1, 0}, {0, 0, 1, 1, 1, 0},
                                             {0, 1, 1, 1, 1, 0}, {1, 1, 1, 1, 1, 0}, {1, 1, 1, 1, 1, 1}};
  for (int k = 1; k <= 6; ++k) {
    const std::vector<T> area{static_cast<T>(k) / T(6)};
    std::vector<T> h(6);
    top_fraction_mask_ref<T>(h.data(), nullptr, s.data(), area.data(), 1, 6);
    EXPECT_EQ(h, expected[static_cast<size_t>(k - 1)]) << k;
  }
}

// Passes over two masks, every layout, both kinds.
struct ComposeCase {
  ComposeCase(int64_t B_, int64_t C_, int64_t HW_, uint64_t seed) : B(B_), C(C_), HW(HW_) {
    RandomVectors random(seed);
    x = random.normal(B * C * HW);
    soft = random.uniform(B * HW, 0, 1);
    hard = soft;
    for (double& v : hard) v = v > 0.5;
    colour = random.normal(C);
    image = random.normal(C * HW);
    images = random.normal(B * C * HW);
    colours = random.normal(B * C);
    dout = random.normal(P * B * C * HW);
  }
  template <class T>
  struct Data {
    std::vector<T> x, soft, hard, colour, image, images, colours;
    std::vector<ComposePass<T>> passes;
  };
  template <class T>
  Data<T> data() const {
    Data<T> d{as<T>(x), as<T>(soft), as<T>(hard), as<T>(colour), as<T>(image), as<T>(images), as<T>(colours), {}};
    for (bool complement : {false, true}) {
      d.passes.push_back({complement, BackgroundLayout::kColour, d.soft.data(), d.colour.data()});
      d.passes.push_back({complement, BackgroundLayout::kImage, d.hard.data(), d.image.data()});
      d.passes.push_back({complement, BackgroundLayout::kImagePerItem, d.soft.data(), d.images.data()});
      d.passes.push_back({complement, BackgroundLayout::kColourPerItem, d.soft.data(), d.colours.data()});
    }
    return d;
  }
  double background(int64_t p, int64_t b, int64_t c, int64_t i) const {
    const int64_t layout = p % 4;
    if (layout == 3) return colours[size_t(b * C + c)];
    return layout == 0 ? colour[size_t(c)] : layout == 1 ? image[size_t(c * HW + i)] : images[size_t((b * C + c) * HW + i)];
  }
  int64_t B, C, HW, P = 8;
  Vec x, soft, hard, colour, image, images, colours, dout;
};

TEST(Compose, EveryPassIsTheFormula) {
  for (const auto& [B, C, HW] : {std::array<int64_t, 3>{1, 1, 1}, {2, 3, 35}, {3, 1, 8}}) {
    const ComposeCase k(B, C, HW, 4);
    const auto d = k.data<double>();
    const auto d32 = k.data<float>();
    Vec out(size_t(k.P * B * C * HW));
    std::vector<float> out32(out.size());
    compose_ref(out.data(), d.x.data(), d.passes.data(), ChannelOrder::kFirst, B, k.P, C, HW);
    compose_ref(out32.data(), d32.x.data(), d32.passes.data(), ChannelOrder::kFirst, B, k.P, C, HW);
    for (int64_t p = 0; p < k.P; ++p)
      for (int64_t b = 0; b < B; ++b)
        for (int64_t c = 0; c < C; ++c)
          for (int64_t i = 0; i < HW; ++i) {
            double m = p % 4 == 1 ? k.hard[size_t(b * HW + i)] : k.soft[size_t(b * HW + i)];
            if (p >= 4) m = 1 - m;
            const double bg = k.background(p, b, c, i), expected = bg + m * (k.x[size_t((b * C + c) * HW + i)] - bg);
            const size_t at = size_t(((p * B + b) * C + c) * HW + i);
            ASSERT_NEAR(out[at], expected, 1e-14);   // a few roundings of numbers about 1
            ASSERT_NEAR(out32[at], expected, 2e-6);  // the same in float, numbers up to 4
          }
  }
}

TEST(Compose, ChannelsMayComeLast) {
  const int64_t B = 2, C = 3, HW = 35;
  const ComposeCase k(B, C, HW, 6);
  const auto d = k.data<double>();
  Vec first(size_t(k.P * B * C * HW)), last(first.size()), gradient(size_t(B * HW), 1.0), from_last = gradient;
  compose_ref(first.data(), d.x.data(), d.passes.data(), ChannelOrder::kFirst, B, k.P, C, HW);
  compose_ref(last.data(), d.x.data(), d.passes.data(), ChannelOrder::kLast, B, k.P, C, HW);
  EXPECT_EQ(last, transposed(first, C, HW));
  compose_backward_ref(gradient.data(), k.dout.data(), d.x.data(), d.passes.data(), ChannelOrder::kFirst, B, k.P, C, HW, true);
  const Vec dout = transposed(k.dout, C, HW);
  compose_backward_ref(from_last.data(), dout.data(), d.x.data(), d.passes.data(), ChannelOrder::kLast, B, k.P, C, HW, true);
  for (size_t i = 0; i < gradient.size(); ++i) EXPECT_NEAR(from_last[i], gradient[i], 1e-13);  // sums of 24, which a compiler may reorder
}

TEST(Compose, HardMaskCopiesBitForBit) {
  const std::vector<float> x{0.1f, -7e8f, 3.3f}, mask{1, 0, 1}, colour{0.7f};
  const std::vector<ComposePass<float>> passes{{false, BackgroundLayout::kColour, mask.data(), colour.data()},
                                               {true, BackgroundLayout::kColour, mask.data(), colour.data()}};
  std::vector<float> out(6);
  compose_ref(out.data(), x.data(), passes.data(), ChannelOrder::kFirst, 1, 2, 1, 3);
  EXPECT_EQ(out, (std::vector<float>{0.1f, 0.7f, 3.3f, 0.7f, -7e8f, 0.7f}));
}

TEST(Compose, GradientOfTheMask) {
  for (const auto& [B, C, HW] : {std::array<int64_t, 3>{1, 1, 1}, {2, 3, 11}, {1, 4, 5}}) {
    const ComposeCase k(B, C, HW, 5);
    auto d = k.data<double>();
    Vec dmask(size_t(B * HW), 3.0);
    compose_backward_ref(dmask.data(), k.dout.data(), d.x.data(), d.passes.data(), ChannelOrder::kFirst, B, k.P, C, HW, false);
    const auto f = [&](const Vec& at) {
      for (auto& pass : d.passes) pass.mask = at.data();  // all passes on the one soft mask: what straight-through differentiates
      Vec out(size_t(k.P * B * C * HW));
      compose_ref(out.data(), d.x.data(), d.passes.data(), ChannelOrder::kFirst, B, k.P, C, HW);
      return std::inner_product(out.begin(), out.end(), k.dout.begin(), 0.0);
    };
    expect_gradient(f, k.soft, dmask, "compose");
    Vec twice = dmask;
    for (auto& pass : d.passes) pass.mask = nullptr;  // not read
    compose_backward_ref(twice.data(), k.dout.data(), d.x.data(), d.passes.data(), ChannelOrder::kFirst, B, k.P, C, HW, true);
    for (size_t i = 0; i < dmask.size(); ++i)
      EXPECT_NEAR(twice[i], 2 * dmask[i], 1e-12 * std::abs(dmask[i]) + 1e-13);  // sums of 24 roundings
    const auto d32 = k.data<float>();
    std::vector<float> dmask32(dmask.size());
    compose_backward_ref(dmask32.data(), as<float>(k.dout).data(), d32.x.data(), d32.passes.data(), ChannelOrder::kFirst, B, k.P, C, HW,
                         false);
    expect_close(dmask32, dmask, 5e-6, "float compose");  // sums of up to 32 products about 1, 6e-8 each
  }
}

}  // namespace
}  // namespace actmatch::kernels
