#include "tests/kernels/cuda/device.h"

namespace actmatch::kernels::cuda {
namespace {

struct Case {
  int64_t B, P, C, HW;
};
constexpr Case kCases[] = {{1, 1, 1, 1}, {2, 2, 5, 49}, {1, 3, 67, 13}, {3, 1, 3, 131}, {1, 1, 9, 529}};
Case draw_case(RandomSizes& r) {
  Case c{r.size(2), r.size(3), r.size(70), r.size(300)};
  // Of two or three numbers that happen to be close the deviation has lost its digits, and with it what is standardised by it.
  if (c.HW == 2 || c.HW == 3) c.HW = 5;
  return c;
}

class CudaTap : public CudaTest, public ::testing::WithParamInterface<TapDistance> {};

TEST_P(CudaTap, AgreesWithTheReference) {
  const TapDistance kind = GetParam();
  in_each_order([&] {
    for (const auto [B, P, C, HW] : and_drawn(kCases, draw_case)) {
      auto a = random(B * C * HW), v = random(P * B * C * HW);
      if (HW > 1 && C > 1) {  // a position without signal, a constant row
        for (int64_t c = 0; c < C; ++c) a[static_cast<size_t>(c * HW + 1)] = v[static_cast<size_t>(c * HW + 1)] = 0;
        for (int64_t i = 0; i < HW; ++i) v[static_cast<size_t>(HW + i)] = 0.3f;
      }
      const auto weight = random(P * B, 0.1, 2), old = random(P * B * C * HW);
      std::vector<double> prepared(a.size()), constant(static_cast<size_t>(B)), value(weight.size());
      tap_prepare_ref(prepared.data(), constant.data(), wide(a).data(), kind, B, C, HW);
      const std::string what = "C " + std::to_string(C) + ", HW " + std::to_string(HW);

      Device<float> da(a), dprepared(a.size()), dconstant(constant.size());
      Scratch small(tap_prepare_scratch_bytes(kind, B, C, HW)), large(tap_distance_scratch_bytes(kind, B, P, C, HW));
      check(tap_prepare(nullptr, dprepared.data(), dconstant.data(), da.data(), kind, B, C, HW, small.data()));
      // Exponentials of differences up to 4 and sums of up to 67 floats.
      expect_near(dprepared.get(), prepared, 100, what + ", prepared");
      for (size_t b = 0; b < constant.size(); ++b)
        ASSERT_NEAR(dconstant.get()[b], constant[b], 100 * 0x1p-24 * std::max(1.0, std::abs(constant[b])));
      check(tap_prepare(nullptr, da.data(), dconstant.data(), da.data(), kind, B, C, HW, small.data()));
      EXPECT_EQ(da.get(), dprepared.get()) << what << ", in place";

      // From the same prepared numbers, so that each step is judged alone.
      Device<float> dv(v), dw(weight), dvalue(weight.size());
      const auto given = wide(dprepared.get()), known = wide(dconstant.get());
      for (const int mode : {0, 1, 2}) {
        auto gradient = wide(old);
        tap_distance_ref(value.data(), mode == 2 ? nullptr : gradient.data(), wide(v).data(), given.data(), known.data(),
                         wide(weight).data(), kind, B, P, C, HW, mode == 1);
        Device<float> dg(old);
        check(tap_distance(nullptr, dvalue.data(), mode == 2 ? nullptr : dg.data(), dv.data(), dprepared.data(), dconstant.data(),
                           dw.data(), kind, B, P, C, HW, mode == 1, large.data()));
        for (size_t n = 0; n < value.size(); ++n)
          ASSERT_NEAR(dvalue.get()[n], value[n], 100 * 0x1p-24 * std::max(1.0, std::abs(value[n]))) << what << ", value";
        if (mode == 2) continue;
        // Where everything cancels, at a single position or channel, the gradient is the rounding of numbers of size weight.
        const auto got = dg.get();
        double largest = 2.0 / static_cast<double>(HW * C);
        for (double g : gradient) largest = std::max(largest, std::abs(g));
        for (size_t i = 0; i < got.size(); ++i)
          ASSERT_NEAR(got[i], gradient[i], 200 * 0x1p-24 * largest) << what << ", gradient, entry " << i;
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Kinds, CudaTap,
                         ::testing::Values(TapDistance::kKlChannels, TapDistance::kKlPositions, TapDistance::kCosine, TapDistance::kMse,
                                           TapDistance::kStandardisedMse));

}  // namespace
}  // namespace actmatch::kernels::cuda
