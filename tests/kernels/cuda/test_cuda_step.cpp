// Regularisers, Adam, random backgrounds.
#include "kernels/regulariser.h"
#include "tests/kernels/cuda/device.h"

namespace actmatch::kernels::cuda {
namespace {

TEST_F(CudaTest, MaskRegulariser) {
  struct Size {
    int64_t B, H, W;
  };
  in_each_order([&] {
    for (const auto [B, H, W] :
         and_drawn({Size{1, 1, 1}, Size{2, 1, 37}, Size{1, 41, 1}, Size{2, 8, 32}, Size{3, 19, 67}}, [](RandomSizes& r) {
           return Size{r.size(3), r.size(34, 8), r.size(100, 32)};
         })) {
      for (const int neighbours : {4, 8}) {
        auto m = random(B * H * W, 0, 1);
        for (size_t i = 0; i + 1 < m.size(); i += 5) m[i + 1] = m[i];  // kinks
        const auto weight = random(B * kRegulariserTerms, 0.1, 2), old = random(B * H * W);
        Device<float> dm(m), dw(weight), value(weight.size());
        Scratch scratch(mask_regulariser_scratch_bytes(B, H, W));
        for (const int mode : {0, 1, 2}) {
          auto gradient = wide(old);
          std::vector<double> want(weight.size());
          mask_regulariser_ref(want.data(), mode == 2 ? nullptr : gradient.data(), wide(m).data(), wide(weight).data(), neighbours, B, H, W,
                               mode == 1);
          Device<float> dg(old);
          check(mask_regulariser(nullptr, value.data(), mode == 2 ? nullptr : dg.data(), dm.data(), dw.data(), neighbours, B, H, W,
                                 mode == 1, scratch.data()));
          expect_near(value.get(), want, 8, "values");  // terms in float, sums in double
          // Ten terms, each a weight over about the number of pixels, and what was there.
          const double least = 4.0 / static_cast<double>(H * W) + (mode == 1 ? 2 : 0);
          if (mode != 2) expect_near(dg.get(), gradient, 16, "gradient", least);
        }
      }
    }
  });
}

TEST_F(CudaTest, SortedArea) {
  in_each_order([&] {
    for (const int64_t HW :
         and_drawn({int64_t{1}, int64_t{37}, int64_t{1025}, int64_t{2503}}, [](RandomSizes& r) { return r.size(2100); })) {
      const int64_t B = 2;
      auto m = random(B * HW, 0, 1);
      for (size_t i = 0; i < m.size(); i += 2) m[i] = 0.5f;  // ties across the border of the area
      const auto area = random(B, 0, 1), weight = random(B, 0.1, 2), old = random(B * HW);
      Device<float> dm(m), darea(area), dw(weight), value(static_cast<size_t>(B));
      for (const int mode : {0, 1, 2}) {
        auto gradient = wide(old);
        std::vector<double> want(static_cast<size_t>(B));
        sorted_area_ref(want.data(), mode == 2 ? nullptr : gradient.data(), wide(m).data(), wide(area).data(), wide(weight).data(), B, HW,
                        mode == 1);
        Device<float> dg(old);
        check(sorted_area(nullptr, value.data(), mode == 2 ? nullptr : dg.data(), dm.data(), darea.data(), dw.data(), B, HW, mode == 1));
        expect_near(value.get(), want, 4, "values");
        if (mode != 2) expect_near(dg.get(), gradient, 6, "gradient", mode == 1 ? 4 : 0);
      }
    }
  });
}

TEST_F(CudaTest, Adam) {
  in_each_order([&] {
    for (const int64_t count : and_drawn({int64_t{1}, int64_t{257}, int64_t{1021}}, [](RandomSizes& r) { return r.size(1100); })) {
      const AdamOptions options{0.05, 0.8, 0.99, 1e-6};
      auto parameter = random(count), first = random(count, 0, 0), second = first;
      Device<float> dp(parameter), df(first), ds(second);
      auto pw = wide(parameter), fw = wide(first), sw = wide(second);
      // Another one behind it, and nothing between.
      const auto other = random(300), other_gradient = random(300);
      const std::vector<float> zeros(300);
      Device<float> op(other), of(zeros), os(zeros), og(other_gradient);
      auto opw = wide(other), ofw = wide(zeros), osw = ofw;
      Device<uint32_t> step(std::vector<uint32_t>{1});
      Device<double> rate(std::vector<double>{options.learning_rate});
      for (int64_t t = 1; t <= 3; ++t) {  // the step is counted on the device
        const auto gradient = random(count);
        Device<float> dg(gradient);
        adam_ref(pw.data(), fw.data(), sw.data(), wide(gradient).data(), count, options, t, 0.5);
        adam_ref(opw.data(), ofw.data(), osw.data(), wide(other_gradient).data(), 300, options, t, 0.5);
        const AdamTensor tensors[] = {{dp.data(), df.data(), ds.data(), dg.data(), count},
                                      {nullptr, nullptr, nullptr, nullptr, 0},
                                      {op.data(), of.data(), os.data(), og.data(), 300}};
        check(adam(nullptr, tensors, options, step.data(), rate.data(), 0.5f));
        check(advance(nullptr, step.data(), 1));
      }
      expect_near(dp.get(), pw, 12, "parameter", 1);  // three steps of a few roundings of numbers below the parameter's size
      expect_near(df.get(), fw, 12, "first", 1);
      expect_near(ds.get(), sw, 12, "second");
      expect_near(op.get(), opw, 12, "the other parameter", 1);
      expect_near(os.get(), osw, 12, "its second");
    }
  });
}

// More tensors than go in one launch, of one number each.
TEST_F(CudaTest, AdamOfManyTensors) {
  const int64_t count = 101;
  const AdamOptions options{0.05, 0.8, 0.99, 1e-6};
  const auto parameter = random(count), gradient = random(count);
  const std::vector<float> zeros(static_cast<size_t>(count));
  Device<float> dp(parameter), df(zeros), ds(zeros), dg(gradient);
  auto pw = wide(parameter), fw = wide(zeros), sw = fw;
  adam_ref(pw.data(), fw.data(), sw.data(), wide(gradient).data(), count, options, 1, 1.0);
  std::vector<AdamTensor> tensors;
  for (int64_t i = 0; i < count; ++i) tensors.push_back({dp.data() + i, df.data() + i, ds.data() + i, dg.data() + i, 1});
  Device<uint32_t> step(std::vector<uint32_t>{1});
  Device<double> rate(std::vector<double>{options.learning_rate});
  check(adam(nullptr, tensors, options, step.data(), rate.data(), 1.0f));
  expect_near(dp.get(), pw, 12, "parameter", 1);
  EXPECT_EQ(adam(nullptr, {}, options, step.data(), rate.data(), 1.0f), cudaSuccess);
}

TEST_F(CudaTest, RandomBackground) {
  in_each_order([&] {
    BackgroundSpec spec;
    for (int c = 0; c < 3; ++c) spec.scale[c] = 1.0 / (50 + c), spec.offset[c] = -2 + c;
    spec.seed = 0x123456789abcdefULL;
    struct Size {
      int64_t C, H, W;
    };
    for (const auto [C, H, W] : and_drawn({Size{1, 1, 1}, Size{3, 5, 7}, Size{3, 17, 29}}, [](RandomSizes& r) {
           return Size{r.integer(1, 3), r.size(20), r.size(34)};
         })) {
      spec.channels = C, spec.height = H, spec.width = W;
      const int64_t count = 9, size = C * H * W;  // every kind, every grid
      std::vector<double> want(static_cast<size_t>(count * size));
      random_background_ref(want.data(), spec, RandomStream::kPrune, 5, 11, count);
      Device<float> out(want.size());
      Device<BackgroundCursor> cursor(std::vector<BackgroundCursor>{{5, 11}});
      check(random_background(nullptr, out.data(), spec, RandomStream::kPrune, cursor.data(), count));
      const auto got = out.get();
      // Double until the end: one rounding to float.
      for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 1.01 * 0x1p-24 * std::abs(want[i]) + 1e-12) << i;
    }
  });
}

}  // namespace
}  // namespace actmatch::kernels::cuda
