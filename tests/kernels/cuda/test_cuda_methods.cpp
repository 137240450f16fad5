// The kernels of the methods beside activation matching: variable-width smoothing, smooth maximum, blur pyramid.
#include "tests/kernels/cuda/device.h"

namespace actmatch::kernels::cuda {
namespace {

std::vector<float> narrow(const std::vector<double>& v) { return {v.begin(), v.end()}; }

TEST_F(CudaTest, VariableSmooth) {
  struct Size {
    int64_t R, B, H, W;
  };
  in_each_order([&] {
    for (const auto [R, B, H, W] :
         and_drawn({Size{1, 1, 1, 1}, Size{3, 2, 1, 37}, Size{4, 1, 41, 1}, Size{2, 3, 19, 23}, Size{20, 1, 5, 9}}, [](RandomSizes& r) {
           return Size{r.size(5), r.size(2), r.size(20), r.size(40)};
         })) {
      const auto w = random(B * H * W), q = random(B * H * W, 0.6, 9), ds = random(B * H * W);
      const auto floats = static_cast<size_t>(variable_smooth_scratch(R, B, H, W));
      std::vector<double> s(w.size()), dw(w.size()), dq(w.size()), host(floats);
      const auto ww = wide(w), wq = wide(q), wds = wide(ds);
      variable_smooth_ref(s.data(), host.data(), ww.data(), wq.data(), R, B, H, W);
      variable_smooth_backward_ref(dw.data(), dq.data(), host.data(), wds.data(), ww.data(), wq.data(), -0.5, R, B, H, W);
      Device<float> dev_w(w), dev_q(q), dev_ds(ds), dev_s(w.size()), dev_dw(w.size()), dev_dq(w.size()), scratch(floats);
      check(variable_smooth(nullptr, dev_s.data(), scratch.data(), dev_w.data(), dev_q.data(), R, B, H, W));
      // Sums of up to 1681 terms in rows of 41; an exponent of up to 60 costs as many roundings of it.
      expect_near(dev_s.get(), s, 400, "smoothed", 2);
      check(variable_smooth_backward(nullptr, dev_dw.data(), dev_dq.data(), scratch.data(), dev_ds.data(), dev_w.data(), dev_q.data(),
                                     -0.5f, R, B, H, W));
      expect_near(dev_dw.get(), dw, 800, "weights", 2);
      expect_near(dev_dq.get(), dq, 800, "widths", 1);
    }
  });
}

TEST_F(CudaTest, SmoothMax) {
  struct Size {
    int64_t step, radius, H, W;
  };
  in_each_order([&] {
    for (const auto [step, radius, H, W] : and_drawn({Size{1, 1, 1, 1}, Size{3, 1, 7, 31}, Size{7, 4, 15, 23}}, [](RandomSizes& r) {
           return Size{r.size(9), r.integer(1, 3), r.size(20), r.size(40)};
         })) {
      SmoothMaxShape shape;
      shape.step = step, shape.radius = radius, shape.height = H, shape.width = W;
      const int64_t B = 2, cells = B * shape.cells_high() * shape.cells_wide(), pixels = B * H * W;
      std::vector<double> table(static_cast<size_t>(shape.support() * shape.support()));
      smooth_max_table(table.data(), shape, 2.5 * static_cast<double>(step));
      const auto narrow_table = narrow(table);
      table = wide(narrow_table);
      const auto a = random(cells, 0, 1), dM = random(pixels);
      std::vector<double> M(static_cast<size_t>(pixels)), Z = M, da(a.size());
      const auto wa = wide(a), wdM = wide(dM);
      smooth_max_ref(M.data(), Z.data(), wa.data(), table.data(), shape, B);
      smooth_max_backward_ref(da.data(), wdM.data(), M.data(), Z.data(), wa.data(), table.data(), shape, B);
      Device<float> dev_a(a), dev_table(narrow_table), dev_dM(dM), dev_M(M.size()), dev_Z(M.size()), dev_da(a.size());
      check(smooth_max(nullptr, dev_M.data(), dev_Z.data(), dev_a.data(), dev_table.data(), shape, B));
      expect_near(dev_M.get(), M, 100, "mask");  // sums of 81; exponents of up to 20
      expect_near(dev_Z.get(), Z, 200, "sum");
      check(
          smooth_max_backward(nullptr, dev_da.data(), dev_dM.data(), dev_M.data(), dev_Z.data(), dev_a.data(), dev_table.data(), shape, B));
      expect_near(dev_da.get(), da, 4000, "grid", 1);  // 1 + c (t - M), c = 20, cancels
    }
  });
}

TEST_F(CudaTest, Pyramid) {
  in_each_order([&] {
    for (const int64_t HW : and_drawn({int64_t{1}, int64_t{67}, int64_t{301}}, [](RandomSizes& r) { return r.size(600); })) {
      const int64_t L = 5, B = 2, C = 3;
      const auto levels = random(L * C * HW), m = random(B * HW, -0.1, 1.1), dout = random(B * C * HW), old = random(B * HW);
      std::vector<float> want(static_cast<size_t>(B * C * HW));
      pyramid_compose_ref(want.data(), m.data(), levels.data(), L, B, C, HW);
      Device<float> dev_levels(levels), dev_m(m), dev_dout(dout), out(want.size());
      check(pyramid_compose(nullptr, out.data(), dev_m.data(), dev_levels.data(), L, B, C, HW));
      expect_near(out.get(), wide(want), 4, "picture", 2);
      for (const bool accumulate : {false, true}) {
        auto dm = old;
        pyramid_compose_backward_ref(dm.data(), dout.data(), m.data(), levels.data(), L, B, C, HW, accumulate);
        Device<float> dev_dm(old);
        check(pyramid_compose_backward(nullptr, dev_dm.data(), dev_dout.data(), dev_m.data(), dev_levels.data(), L, B, C, HW, accumulate));
        expect_near(dev_dm.get(), wide(dm), 16, "gradient", 8);
      }
    }
  });
}

TEST_F(CudaTest, ClampBelow) {
  in_each_order([&] {
    Device<float> x(std::vector<float>{-1, 0.5f, 0.6f, 7});
    check(clamp_below(nullptr, x.data(), 0.6f, 4));
    EXPECT_EQ(x.get(), (std::vector<float>{0.6f, 0.6f, 0.6f, 7}));
    for (const int64_t count : and_drawn({int64_t{1031}}, [](RandomSizes& r) { return r.size(5000); })) {
      auto want = random(count);
      Device<float> values(want);
      for (float& v : want) v = std::max(v, 0.25f);
      check(clamp_below(nullptr, values.data(), 0.25f, count));
      EXPECT_EQ(values.get(), want);
    }
  });
}

}  // namespace
}  // namespace actmatch::kernels::cuda
