#include "tests/kernels/cuda/device.h"

namespace actmatch::kernels::cuda {
namespace {

struct Case {
  int64_t B, P, C, HW;
};
// The last ones have lines longer than what a block keeps of them, 512 numbers.
constexpr Case kCases[] = {{1, 1, 1, 1}, {2, 2, 5, 49}, {1, 3, 67, 13}, {3, 1, 3, 131}, {1, 1, 9, 529}, {1, 1, 1100, 5}};
Case draw_case(RandomSizes& r) {
  Case c{r.size(2), r.size(3), r.size(70), r.size(300)};
  // Of two or three numbers that happen to be close the deviation has lost its digits, and with it what is standardised by it.
  if (c.HW == 2 || c.HW == 3) c.HW = 5;
  return c;
}

class CudaTap : public CudaTest, public ::testing::WithParamInterface<std::tuple<TapDistance, ChannelOrder>> {};

TEST_P(CudaTap, AgreesWithTheReference) {
  const auto [kind, order] = GetParam();
  in_each_order([&] {
    for (const auto [B, P, C, HW] : and_drawn(kCases, draw_case)) {
      auto a = random(B * C * HW), v = random(P * B * C * HW);
      if (HW > 1 && C > 1) {  // a position without signal, a constant channel
        const auto at = [&, o = order](int64_t c, int64_t i) {
          return static_cast<size_t>(o == ChannelOrder::kFirst ? c * HW + i : i * C + c);
        };
        for (int64_t c = 0; c < C; ++c) a[at(c, 1)] = v[at(c, 1)] = 0;
        for (int64_t i = 0; i < HW; ++i) v[at(1, i)] = 0.3f;
      }
      const auto weight = random(P * B, 0.1, 2), old = random(P * B * C * HW);
      std::vector<double> prepared(a.size()), constant(static_cast<size_t>(B)), value(weight.size());
      tap_prepare_ref(prepared.data(), constant.data(), wide(a).data(), kind, order, B, C, HW);
      const std::string what = "C " + std::to_string(C) + ", HW " + std::to_string(HW);

      Device<float> da(a), dprepared(a.size()), dconstant(constant.size());
      Scratch small(tap_prepare_scratch_bytes(kind, B, C, HW)), large(tap_distance_scratch_bytes(kind, B, P, C, HW));
      check(tap_prepare(nullptr, dprepared.data(), dconstant.data(), da.data(), kind, order, B, C, HW, small.data()));
      // Exponentials of differences up to 4 and sums of up to 67 floats.
      expect_near(dprepared.get(), prepared, 100, what + ", prepared");
      for (size_t b = 0; b < constant.size(); ++b)
        ASSERT_NEAR(dconstant.get()[b], constant[b], 100 * 0x1p-24 * std::max(1.0, std::abs(constant[b])));
      check(tap_prepare(nullptr, da.data(), dconstant.data(), da.data(), kind, order, B, C, HW, small.data()));
      EXPECT_EQ(da.get(), dprepared.get()) << what << ", in place";

      // From the same prepared numbers, so that each step is judged alone.
      Device<float> dv(v), dw(weight), dvalue(weight.size());
      const auto given = wide(dprepared.get()), known = wide(dconstant.get());
      for (const int mode : {0, 1, 2}) {
        auto gradient = wide(old);
        tap_distance_ref(value.data(), mode == 2 ? nullptr : gradient.data(), wide(v).data(), given.data(), known.data(),
                         wide(weight).data(), kind, order, B, P, C, HW, mode == 1);
        Device<float> dg(old);
        check(tap_distance(nullptr, dvalue.data(), mode == 2 ? nullptr : dg.data(), dv.data(), dprepared.data(), dconstant.data(),
                           dw.data(), kind, order, B, P, C, HW, mode == 1, large.data()));
        for (size_t n = 0; n < value.size(); ++n)
          ASSERT_NEAR(dvalue.get()[n], value[n], 100 * 0x1p-24 * std::max(1.0, std::abs(value[n]))) << what << ", value";
        if (mode == 2) continue;
        // Where everything cancels, at a single position or channel, the gradient is the rounding of numbers of size weight.
        const auto got = dg.get();
        double largest = 2.0 / static_cast<double>(HW * C);
        for (double g : gradient) largest = std::max(largest, std::abs(g));
        // The cosine's is divided by the length of v at the position, which is short where few channels happen to be small.
        std::vector<double> square(static_cast<size_t>(P * B * HW), 0.0);
        const auto place = [&, C = C, HW = HW, o = order](size_t i) {
          const auto n = static_cast<int64_t>(i) / (C * HW), k = static_cast<int64_t>(i) % (C * HW);
          return static_cast<size_t>(n * HW + (o == ChannelOrder::kFirst ? k % HW : k / C));
        };
        if (kind == TapDistance::kCosine)
          for (size_t i = 0; i < v.size(); ++i) square[place(i)] += static_cast<double>(v[i]) * v[i];
        for (size_t i = 0; i < got.size(); ++i) {
          const double length = std::sqrt(square[place(i)]), scale = length > 0 ? 2.0 / (static_cast<double>(HW) * length) : 0.0;
          ASSERT_NEAR(got[i], gradient[i], 200 * 0x1p-24 * std::max(largest, scale)) << what << ", gradient, entry " << i;
        }
      }
    }
  });
}

// The softmax of a line is taken in one sweep, whatever comes first: the largest numbers at the end, or at the beginning, or all very
// small.
TEST_F(CudaTest, SoftmaxOfLinesWithLargeNumbersAnywhere) {
  in_each_order([&] {
    for (const ChannelOrder order : {ChannelOrder::kFirst, ChannelOrder::kLast}) {
      for (const float slope : {0.5f, -0.5f}) {
        const int64_t C = 1200, HW = 3;
        std::vector<float> a(C * HW), v(C * HW);
        for (int64_t c = 0; c < C; ++c)
          for (int64_t i = 0; i < HW; ++i) {
            const auto at = static_cast<size_t>(order == ChannelOrder::kFirst ? c * HW + i : i * C + c);
            a[at] = slope * static_cast<float>(c) - 3000.0f * static_cast<float>(i);
            v[at] = a[at] + 0.01f * static_cast<float>((c * 7 + i) % 11);
          }
        const std::vector<float> weight{1.5f};
        std::vector<double> prepared(a.size()), constant(1), value(1), gradient(a.size());
        tap_prepare_ref(prepared.data(), constant.data(), wide(a).data(), TapDistance::kKlChannels, order, 1, C, HW);
        tap_distance_ref(value.data(), gradient.data(), wide(v).data(), prepared.data(), constant.data(), wide(weight).data(),
                         TapDistance::kKlChannels, order, 1, 1, C, HW, false);
        Device<float> da(a), dprepared(a.size()), dconstant(1), dv(v), dw(weight), dvalue(1), dg(a.size());
        Scratch scratch(tap_distance_scratch_bytes(TapDistance::kKlChannels, 1, 1, C, HW));
        check(
            tap_prepare(nullptr, dprepared.data(), dconstant.data(), da.data(), TapDistance::kKlChannels, order, 1, C, HW, scratch.data()));
        check(tap_distance(nullptr, dvalue.data(), dg.data(), dv.data(), dprepared.data(), dconstant.data(), dw.data(),
                           TapDistance::kKlChannels, order, 1, 1, C, HW, false, scratch.data()));
        // Only what is near the largest counts, and the differences there are exact; so the tolerances are those of ordinary numbers.
        expect_near(dprepared.get(), prepared, 100, "prepared");
        EXPECT_NEAR(dvalue.get()[0], value[0], 100 * 0x1p-24 * std::abs(constant[0]));  // the value cancels against the entropy
        const auto got = dg.get();
        for (size_t i = 0; i < got.size(); ++i)  // differences of probabilities, times the weight, over the positions
          ASSERT_NEAR(got[i], gradient[i], 100 * 0x1p-24 * 1.5 / static_cast<double>(HW)) << "gradient, entry " << i;
      }
    }
  });
}

TEST_F(CudaTest, TapsOfTooManyNumbersAreRefused) {
  for (const TapDistance kind : {TapDistance::kKlChannels, TapDistance::kCosine, TapDistance::kStandardisedMse})
    EXPECT_EQ(tap_distance(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, kind, ChannelOrder::kLast, 1, 1, int64_t{1} << 16,
                           int64_t{1} << 15, false, nullptr),
              cudaErrorInvalidValue);
}

INSTANTIATE_TEST_SUITE_P(Kinds, CudaTap,
                         ::testing::Combine(::testing::Values(TapDistance::kKlChannels, TapDistance::kKlPositions, TapDistance::kCosine,
                                                              TapDistance::kMse, TapDistance::kStandardisedMse),
                                            ::testing::Values(ChannelOrder::kFirst, ChannelOrder::kLast)));

}  // namespace
}  // namespace actmatch::kernels::cuda
