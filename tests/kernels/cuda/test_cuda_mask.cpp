#include "tests/kernels/cuda/device.h"

namespace actmatch::kernels::cuda {
namespace {

struct Size {
  int64_t B, HW;
};
constexpr Size kSizes[] = {{1, 1}, {2, 31}, {3, 257}, {1, 1031}, {2, 2500}};
Size draw_size(RandomSizes& r) { return {r.size(3), r.size(1100)}; }

TEST_F(CudaTest, FillAndAdvance) {
  in_each_order([&] {
    for (const int64_t count : and_drawn({int64_t{1021}}, [](RandomSizes& r) { return r.size(5000); })) {
      Device<float> x(static_cast<size_t>(count));
      check(fill(nullptr, x.data(), 2.5f, count));
      EXPECT_EQ(x.get(), std::vector<float>(static_cast<size_t>(count), 2.5f));
    }
    for (const int64_t count : and_drawn({int64_t{1}, int64_t{256}, int64_t{257}}, [](RandomSizes& r) { return r.size(2000); })) {
      // Of several arrays nothing but what is named.
      Device<float> x(static_cast<size_t>(3 * count));
      check(fill(nullptr, x.data(), 1.0f, 3 * count));
      std::vector<FillPart> parts{{x.data(), count}, {x.data() + count, 0}};
      for (int64_t i = 0; i < std::min<int64_t>(count, 60); ++i) parts.push_back({x.data() + 2 * count + i, 1});
      check(fill_parts(nullptr, parts, -2.0f));
      std::vector<float> want(static_cast<size_t>(3 * count), 1.0f);
      std::fill_n(want.begin(), count, -2.0f);
      std::fill_n(want.begin() + 2 * count, std::min<int64_t>(count, 60), -2.0f);
      EXPECT_EQ(x.get(), want);
    }
    EXPECT_EQ(fill_parts(nullptr, {}, 0), cudaSuccess);
    Device<uint32_t> counter(std::vector<uint32_t>{7});
    check(advance(nullptr, counter.data(), 3));
    EXPECT_EQ(counter.get()[0], 10u);
    EXPECT_EQ(fill(nullptr, nullptr, 0, 0), cudaSuccess);
  });
}

TEST_F(CudaTest, MaskActivate) {
  in_each_order([&] {
    for (const auto [B, HW] : and_drawn(kSizes, draw_size)) {
      const auto s = random(B * HW, -4, 4), t = random(B), scale = random(B, 0.5, 8), dm = random(B * HW), old = random(B * HW);
      std::vector<double> m(s.size());
      mask_activate_ref(m.data(), wide(s).data(), wide(t).data(), wide(scale).data(), B, HW);
      Device<float> ds(s), dt(t), dscale(scale), dmask(s.size()), ddm(dm), out(old);
      check(mask_activate(nullptr, dmask.data(), ds.data(), dt.data(), dscale.data(), B, HW));
      // The argument of the exponential, up to 48 in size, is rounded to float: as many roundings of the result at the most, weighed by
      // m (1 - m) <= 1/4.
      expect_near(dmask.get(), m, 16, "mask", 1);
      const auto hard = [&] {
        std::vector<float> h(s.size());
        hard_mask_ref(h.data(), s.data(), t.data(), B, HW);
        return h;
      }();
      check(hard_mask(nullptr, dmask.data(), ds.data(), dt.data(), B, HW));
      EXPECT_EQ(dmask.get(), hard);
      const auto soft = random(B * HW, 0, 1);
      Device<float> dsoft(soft);
      for (const bool accumulate : {false, true}) {
        auto want = wide(old);
        mask_activate_backward_ref(want.data(), wide(dm).data(), wide(soft).data(), wide(scale).data(), B, HW, accumulate);
        Device<float> gradient(old);
        check(mask_activate_backward(nullptr, gradient.data(), ddm.data(), dsoft.data(), dscale.data(), B, HW, accumulate));
        expect_near(gradient.get(), want, 6, "gradient", accumulate ? 4 : 0);  // four products and a sum
      }
    }
  });
}

TEST_F(CudaTest, TopFractionMask) {
  in_each_order([&] {
    for (const auto [B, HW] : and_drawn(kSizes, draw_size)) {
      for (int variant = 0; variant < 5; ++variant) {
        auto s = random(B * HW);
        auto area = random(B, 0.01, 0.99);
        if (variant == 1)  // many ties, both zeros
          for (float& v : s) v = std::round(v) * (integer(0, 1) ? 1.0f : -1.0f);
        if (variant == 2) std::fill(s.begin(), s.end(), 0.25f);
        if (variant == 3) area.assign(area.size(), integer(0, 1) ? 0.0f : 1.0f);
        if (variant == 4)
          for (size_t i = 0; i < s.size(); i += 3) s[i] = NAN;
        std::vector<float> h(s.size()), threshold(static_cast<size_t>(B));
        top_fraction_mask_ref(h.data(), threshold.data(), s.data(), area.data(), B, HW);
        Device<float> ds(s), darea(area), dh(s.size()), dt(threshold.size());
        check(top_fraction_mask(nullptr, dh.data(), dt.data(), ds.data(), darea.data(), B, HW));
        ASSERT_EQ(dh.get(), h) << "variant " << variant << ", HW " << HW;
        const auto got = dt.get();
        for (size_t b = 0; b < threshold.size(); ++b) {
          if (std::isnan(threshold[b]))
            ASSERT_TRUE(std::isnan(got[b]));
          else
            ASSERT_EQ(got[b], threshold[b]) << "variant " << variant << ", HW " << HW;
        }
        check(top_fraction_mask(nullptr, nullptr, nullptr, ds.data(), darea.data(), B, HW));
      }
    }
  });
}

TEST_F(CudaTest, Compose) {
  struct Images {
    int64_t B, C, HW;
  };
  in_each_order([&] {
    for (const auto [B, C, HW] : and_drawn({Images{1, 3, 1}, Images{3, 3, 67}, Images{2, 3, 301}}, [](RandomSizes& r) {
           return Images{r.size(3), r.size(4), r.size(300)};
         })) {
      for (const int64_t P : {int64_t{1}, int64_t{4}, kComposePasses + 2}) {
        const auto x = random(B * C * HW), colour = random(C), image = random(C * HW), item = random(B * C * HW), colours = random(B * C);
        const auto mask = random(B * HW, 0, 1), other = random(B * HW, 0, 1), dout = random(P * B * C * HW), old = random(B * HW);
        Device<float> dx(x), dcolour(colour), dimage(image), ditem(item), dcolours(colours), dmask(mask), dother(other), ddout(dout),
            out(dout.size());
        const auto xw = wide(x), cw = wide(colour), iw = wide(image), tw = wide(item), sw = wide(colours), mw = wide(mask),
                   ow = wide(other);
        std::vector<ComposePass<float>> passes;
        std::vector<ComposePass<double>> reference;
        for (int64_t p = 0; p < P; ++p) {
          const bool complement = p % 2 == 1;
          const auto layout = static_cast<BackgroundLayout>(p % 4);
          float* const backgrounds[] = {dcolour.data(), dimage.data(), ditem.data(), dcolours.data()};
          const double* const wides[] = {cw.data(), iw.data(), tw.data(), sw.data()};
          passes.push_back({complement, layout, p % 3 < 2 ? dmask.data() : dother.data(), backgrounds[p % 4]});
          reference.push_back({complement, layout, p % 3 < 2 ? mw.data() : ow.data(), wides[p % 4]});
        }
        for (const ChannelOrder order : {ChannelOrder::kFirst, ChannelOrder::kLast}) {
          std::vector<double> want(dout.size());
          compose_ref(want.data(), xw.data(), reference.data(), order, B, P, C, HW);
          check(compose(nullptr, out.data(), dx.data(), passes.data(), order, B, P, C, HW));
          expect_near(out.get(), want, 4, "images", 2);  // 1 - m, two products, one sum
          for (const bool accumulate : {false, true}) {
            auto gradient = wide(old);
            compose_backward_ref(gradient.data(), wide(dout).data(), xw.data(), reference.data(), order, B, P, C, HW, accumulate);
            Device<float> got(old);
            check(compose_backward(nullptr, got.data(), ddout.data(), dx.data(), passes.data(), order, B, P, C, HW, accumulate));
            // Three roundings for each of the P*C terms of up to 8, which are larger than the sum when they cancel.
            expect_near(got.get(), gradient, 12.0 * static_cast<double>(P * C), "gradient", 8);
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace actmatch::kernels::cuda
