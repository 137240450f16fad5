#include "kernels/logit_loss.h"
#include "tests/kernels/cuda/device.h"

namespace actmatch::kernels::cuda {
namespace {

struct Case {
  int64_t B, P, K;
};
constexpr Case kCases[] = {{1, 1, 1}, {2, 3, 2}, {3, 2, 31}, {1, 2, 257}, {2, 1, 1009}};
Case draw_case(RandomSizes& r) { return {r.size(3), r.size(3), r.size(600)}; }

// Each loss as the reference computes it in double and as the device does.
enum Loss { kKl, kCrossEntropy, kMargin, kNecessityHinge, kNecessityLog, kLosses };

TEST_F(CudaTest, LogitLosses) {
  in_each_order([&] {
    for (const auto [B, P, K] : and_drawn(kCases, draw_case)) {
      for (int loss = 0; loss < kLosses; ++loss) {
        const auto z = random(P * B * K, -6, 6), target = random(B * K, -6, 6), weight = random(P * B, 0.1, 2), old = random(P * B * K);
        const auto label = labels(B, K);
        const auto zw = wide(z), tw = wide(target), ww = wide(weight);
        Device<float> dz(z), dt(target), dw(weight);
        Device<int32_t> dl(label);
        for (const int mode : {0, 1, 2}) {  // overwrite, accumulate, no gradient
          const bool accumulate = mode == 1;
          auto gradient = wide(old);
          std::vector<double> value(weight.size());
          double* g = mode == 2 ? nullptr : gradient.data();
          Device<float> dg(old), dv(weight.size());
          float* dgp = mode == 2 ? nullptr : dg.data();
          switch (loss) {
            case kKl:
              kl_logits_ref(value.data(), g, zw.data(), tw.data(), ww.data(), 2.0, B, P, K, accumulate);
              check(kl_logits(nullptr, dv.data(), dgp, dz.data(), dt.data(), dw.data(), 2.0f, B, P, K, accumulate));
              break;
            case kCrossEntropy:
              cross_entropy_ref(value.data(), g, zw.data(), label.data(), ww.data(), B, P, K, accumulate);
              check(cross_entropy(nullptr, dv.data(), dgp, dz.data(), dl.data(), dw.data(), B, P, K, accumulate));
              break;
            case kMargin:
              margin_hinge_ref(value.data(), g, zw.data(), label.data(), ww.data(), 2.0, B, P, K, accumulate);
              check(margin_hinge(nullptr, dv.data(), dgp, dz.data(), dl.data(), dw.data(), 2.0f, B, P, K, accumulate));
              break;
            case kNecessityHinge:
              necessity_hinge_ref(value.data(), g, zw.data(), tw.data(), label.data(), ww.data(), 2.0, B, P, K, accumulate);
              check(necessity_hinge(nullptr, dv.data(), dgp, dz.data(), dt.data(), dl.data(), dw.data(), 2.0f, B, P, K, accumulate));
              break;
            case kNecessityLog:
              necessity_log_ref(value.data(), g, zw.data(), label.data(), ww.data(), B, P, K, accumulate);
              check(necessity_log(nullptr, dv.data(), dgp, dz.data(), dl.data(), dw.data(), B, P, K, accumulate));
              break;
            default: break;
          }
          const std::string what = "loss " + std::to_string(loss) + ", K " + std::to_string(K);
          // Logits up to 12 apart: their difference is rounded before the exponential, 12 roundings of its result, a few more around it.
          // Sums are in double. A value may be the small difference of two such numbers: measured against 1 then.
          for (size_t n = 0; n < value.size(); ++n)
            ASSERT_NEAR(static_cast<double>(dv.get()[n]), value[n], 40 * 0x1p-24 * std::max(1.0, std::abs(value[n]))) << what;
          // Probabilities near 1 are subtracted from it; what was there is up to 6.
          if (mode != 2 && K > 1) expect_near(dg.get(), gradient, 40, what + ", gradient", mode == 1 ? 6 : 1);
        }
      }
    }
  });
}

TEST_F(CudaTest, ClassScores) {
  in_each_order([&] {
    for (const auto [B, P, K] : and_drawn(kCases, draw_case)) {
      auto z = random(P * B * K, -6, 6);
      if (P * B > 1) z[static_cast<size_t>(K + K / 2)] = NAN;
      for (size_t i = 0; i + 1 < static_cast<size_t>(K); i += 2) z[i + 1] = z[i];  // ties in row 0
      const auto label = labels(B, K);
      std::vector<int32_t> top(static_cast<size_t>(P * B));
      std::vector<float> p(top.size());
      class_scores_ref(top.data(), p.data(), z.data(), label.data(), B, P, K);
      Device<float> dz(z), dp(p.size());
      Device<int32_t> dl(label), dtop(top.size());
      check(class_scores(nullptr, dtop.data(), dp.data(), dz.data(), dl.data(), B, P, K));
      EXPECT_EQ(dtop.get(), top);
      const auto got = dp.get();
      for (size_t n = 0; n < p.size(); ++n) {
        if (std::isnan(p[n]))
          EXPECT_TRUE(std::isnan(got[n]));
        else
          EXPECT_NEAR(got[n], p[n], 3e-6 * p[n]);  // exp_vec: 2.5e-7 + 1e-7 * 12 for each of the two exponentials
      }
    }
  });
}

}  // namespace
}  // namespace actmatch::kernels::cuda
