// The kernels that end a step and those that check masks: area controller, trace, smoothing, images by selection.
#include <array>

#include "tests/kernels/cuda/device.h"

namespace actmatch::kernels::cuda {
namespace {

TEST_F(CudaTest, AreaControl) {
  in_each_order([&] {
    for (const int64_t HW :
         and_drawn({int64_t{1}, int64_t{37}, int64_t{256}, int64_t{1031}}, [](RandomSizes& r) { return r.size(1100); })) {
      for (const int64_t R : {0, 3}) {
        const int64_t B = 4;
        const std::vector<double> fall{0.9, 0.7, 0.5};
        std::vector<AreaState> state(B);
        for (size_t b = 0; b < state.size(); ++b) state[b].ceiling = b == 1 ? 0.6 : 1.0, state[b].least_p = 0.4;
        const auto label = labels(B, 2);
        Device<AreaState> dstate(state);
        Device<int32_t> dlabel(label);
        Device<double> dfall(fall);
        auto best = random(B * HW), area = random(B), outcome = random(2 * B);
        Device<float> dbest(best), darea(area), doutcome(outcome);
        for (uint32_t t = 1; t <= 8; ++t) {
          auto hard = random(B * HW, 0, 1);
          for (float& v : hard) v = v < 0.9f - 0.1f * static_cast<float>(t) ? 1.0f : 0.0f;
          auto top = labels((1 + R) * B, 2);
          if (t == 6) top[0] = -1;
          const auto p = random((1 + R) * B, 0, 1);
          AreaControl control{0.9, 1.2, 3, R, R > 0 ? 2 : 0, t != 2};
          const bool scheduled = t < 8;
          area_control_ref(state.data(), area.data(), best.data(), outcome.data(), hard.data(), top.data(), p.data(), label.data(),
                           scheduled ? fall.data() : nullptr, &t, control, B, HW);
          Device<float> dhard(hard), dp(p);
          Device<int32_t> dtop(top);
          Device<uint32_t> dt(std::vector<uint32_t>{t});
          check(area_control(nullptr, dstate.data(), darea.data(), dbest.data(), doutcome.data(), dhard.data(), dtop.data(), dp.data(),
                             dlabel.data(), scheduled ? dfall.data() : nullptr, dt.data(), control, B, HW));
          ASSERT_EQ(darea.get(), area) << "step " << t;  // the same operations in double
          ASSERT_EQ(dbest.get(), best) << "step " << t;
          ASSERT_EQ(doutcome.get(), outcome) << "step " << t;
          const auto got = dstate.get();
          for (size_t b = 0; b < state.size(); ++b) {
            ASSERT_EQ(got[b].area, state[b].area) << "step " << t;
            ASSERT_EQ(got[b].best_pixels, state[b].best_pixels) << "step " << t;
          }
        }
        if (HW == 1031) {  // where none is kept by chance alone
          EXPECT_GT(state[0].best_pixels + state[1].best_pixels + state[2].best_pixels + state[3].best_pixels, 0);
        }
      }
    }
  });
}

TEST_F(CudaTest, RecordStep) {
  in_each_order([&] {
    for (const int64_t B : and_drawn({int64_t{1}, int64_t{3}, int64_t{37}}, [](RandomSizes& r) { return r.size(300); })) {
      const int64_t taps = 3, R = 2, rows = 4;
      const auto act = random(taps * B), act_weight = random(taps), kl = random(B), ce = random(B), margin = random(B),
                 regulariser = random(3 * B), rob = random(R * B), nec = random(B), outcome = random(2 * B),
                 old = random(rows * B * kTraceColumns);
      Device<float> dact(act), dact_weight(act_weight), dkl(kl), dce(ce), dmargin(margin), dregulariser(regulariser), drob(rob), dnec(nec),
          doutcome(outcome), dtrace(old);
      StepTerms<float> host{act.data(),         act_weight.data(), taps, kl.data(),  ce.data(),      margin.data(),
                            regulariser.data(), rob.data(),        R,    nec.data(), outcome.data(), {}};
      for (int t = 0; t < kLossTerms; ++t) host.weight[t] = static_cast<float>(t) - 3.5f;
      StepTerms<float> device = host;
      device.act = dact.data(), device.act_weight = dact_weight.data(), device.kl = dkl.data(), device.ce = dce.data();
      device.margin = dmargin.data(), device.regulariser = dregulariser.data(), device.rob = drob.data(), device.nec = dnec.data();
      device.outcome = doutcome.data();
      auto want = old;
      for (const uint32_t step : {1u, 7u, 8u}) {
        if (step == 8) {  // everything off but one
          host.kl = host.margin = host.regulariser = host.nec = host.outcome = device.kl = device.margin = device.regulariser = device.nec =
              device.outcome = nullptr;
          host.taps = host.robust = device.taps = device.robust = 0;
        }
        record_step_ref(want.data(), host, &step, rows, B);
        Device<uint32_t> dstep(std::vector<uint32_t>{step});
        check(record_step(nullptr, dtrace.data(), device, dstep.data(), rows, B));
      }
      expect_near(dtrace.get(), wide(want), 2, "trace");  // products and sums in one rounding or in two
    }
  });
}

TEST_F(CudaTest, GaussianSmooth) {
  struct Size {
    int64_t B, H, W;
  };
  in_each_order([&] {
    for (const auto [B, H, W] : and_drawn({Size{1, 1, 1}, Size{2, 1, 37}, Size{1, 41, 1}, Size{3, 19, 23}}, [](RandomSizes& r) {
           return Size{r.size(3), r.size(20), r.size(40)};
         })) {
      const std::vector<int32_t> radius{2, -1, 0, 7, 40};
      const int64_t stride = 41;
      const auto taps = random(static_cast<int64_t>(radius.size()) * stride, 0, 0.1), map = random(B * H * W);
      Device<float> dtaps(taps);
      Device<int32_t> dradius(radius);
      for (const uint32_t step : {1u, 2u, 3u, 4u, 5u, 9u}) {
        auto want = wide(map), scratch = want;
        const auto wide_taps = wide(taps);
        gaussian_smooth_ref(want.data(), scratch.data(), {wide_taps.data(), radius.data(), 5, stride}, &step, B, H, W);
        Device<float> dmap(map), dscratch(map.size());
        Device<uint32_t> dstep(std::vector<uint32_t>{step});
        check(gaussian_smooth(nullptr, dmap.data(), dscratch.data(), {dtaps.data(), dradius.data(), 5, stride}, dstep.data(), B, H, W));
        // Two sums of up to 81 products, whose terms are up to ten times larger than the sum where they cancel.
        expect_near(dmap.get(), want, 800, "map, step " + std::to_string(step), 0.01);
        if (step == 2) {
          EXPECT_EQ(dmap.get(), map);
        }
      }
    }
  });
}

TEST_F(CudaTest, SelectComposeAndGain) {
  in_each_order([&] {
    const auto draw = [](RandomSizes& r) { return std::array<int64_t, 2>{r.size(25), r.size(25)}; };
    for (const auto [H, W] :
         and_drawn({std::array<int64_t, 2>{1, 1}, std::array<int64_t, 2>{1, 67}, std::array<int64_t, 2>{43, 7}}, draw)) {
      const int64_t HW = H * W, C = 3, n = 5, masks = 3, backgrounds = 2;
      const auto bottom = static_cast<int32_t>(H), right = static_cast<int32_t>(W);
      const auto x = random(C * HW), colour = random(C), first = random(backgrounds * C * HW), second = random(backgrounds * C * HW),
                 gradient = random(n * C * HW), old = random(HW);
      std::vector<uint8_t> mask;
      for (int64_t i = 0; i < masks * HW; ++i) mask.push_back(static_cast<uint8_t>(integer(0, 1)));
      const std::vector<SelectJob> jobs{{0, -1, 0, {}},
                                        {2, 0, 1, {bottom / 3, right / 4, bottom, right / 2 + 1}},
                                        {1, 1, 0, {0, 0, 1, 1}},
                                        {1, -1, 0, {0, 0, bottom, right}},
                                        {0, 1, 1, {bottom - 1, right - 1, bottom, right}}};
      Device<float> dx(x), dcolour(colour), dfirst(first), dsecond(second), dgradient(gradient), out(static_cast<size_t>(n * C * HW));
      Device<uint8_t> dmask(mask);
      Device<SelectJob> djobs(jobs);
      const SelectSources<float> host{x.data(), colour.data(), mask.data(), {first.data(), second.data()}};
      const SelectSources<float> device{dx.data(), dcolour.data(), dmask.data(), {dfirst.data(), dsecond.data()}};
      for (const bool flag : {false, true}) {
        std::vector<float> want(static_cast<size_t>(n * C * HW));
        select_compose_ref(want.data(), host, jobs.data(), flag, n, C, H, W);
        check(select_compose(nullptr, out.data(), device, djobs.data(), flag, n, C, H, W));
        EXPECT_EQ(out.get(), want);
        for (const bool accumulate : {false, true}) {
          auto gain = wide(old);
          const auto wx = wide(x), wcolour = wide(colour), wfirst = wide(first), wsecond = wide(second);
          select_gain_ref(gain.data(), wide(gradient).data(), {wx.data(), wcolour.data(), mask.data(), {wfirst.data(), wsecond.data()}},
                          jobs.data(), flag ? -1.0 : 1.0, flag, n, C, H, W, accumulate);
          Device<float> got(old);
          check(
              select_gain(nullptr, got.data(), dgradient.data(), device, djobs.data(), flag ? -1.0f : 1.0f, flag, n, C, H, W, accumulate));
          expect_near(got.get(), gain, 60, "gain", 8);  // 15 terms of up to 8, of three roundings, which may cancel
        }
      }
      EXPECT_EQ(select_compose(nullptr, nullptr, device, djobs.data(), false, 0, C, H, W), cudaSuccess);
    }
  });
}

}  // namespace
}  // namespace actmatch::kernels::cuda
