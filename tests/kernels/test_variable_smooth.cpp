#include "kernels/variable_smooth.h"

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

Vec smooth(const Vec& w, const Vec& q, int64_t R, int64_t B, int64_t H, int64_t W) {
  Vec s(w.size(), NAN), scratch(static_cast<size_t>(variable_smooth_scratch(R, B, H, W)), NAN);
  variable_smooth_ref(s.data(), scratch.data(), w.data(), q.data(), R, B, H, W);
  return s;
}

// The definition, pixel by pixel.
Vec naive(const Vec& w, const Vec& q, int64_t R, int64_t B, int64_t H, int64_t W) {
  Vec s;
  for (int64_t b = 0; b < B; ++b)
    for (int64_t y = 0; y < H; ++y)
      for (int64_t x = 0; x < W; ++x) {
        double sum = 0;
        for (int64_t v = -R; v <= R; ++v)
          for (int64_t u = -R; u <= R; ++u) {
            const int64_t j = (b * H + std::clamp<int64_t>(y + v, 0, H - 1)) * W + std::clamp<int64_t>(x + u, 0, W - 1);
            sum += w[static_cast<size_t>(j)] * std::exp(-static_cast<double>(u * u + v * v) / q[static_cast<size_t>(j)]);
          }
        s.push_back(sum);
      }
  return s;
}

TEST(VariableSmooth, ByHand) {
  // A row of one pixel, radius 1: nine copies of it, four at distance 1 and four at the square root of 2. exp(-1/q) = 1/2.
  const double q = 1 / std::log(2.0);
  EXPECT_NEAR(smooth({3}, {q}, 1, 1, 1, 1)[0], 3 * (1 + 4 * 0.5 + 4 * 0.25), 1e-14);
  EXPECT_NEAR(smooth({3}, {q}, 0, 1, 1, 1)[0], 3, 1e-15);
  // Two pixels in a row: the right one alone has weight. At the left one it stands at distance 1, three times (rows -1, 0, 1 are the same
  // row).
  const Vec s = smooth({0, 8}, {q, q}, 1, 1, 1, 2);
  EXPECT_NEAR(s[0], 8 * (0.5 + 2 * 0.25), 1e-14);
  EXPECT_NEAR(s[1], 8 * (1 + 2 * 0.5 + 0.5 + 2 * 0.25), 1e-14) << "itself, above, below, and its copies to the right";
}

struct Size {
  int64_t R, B, H, W;
};
constexpr Size kSizes[] = {{1, 1, 1, 1}, {3, 2, 1, 9}, {3, 1, 8, 1}, {2, 2, 5, 7}, {6, 1, 4, 5}, {20, 1, 3, 30}};

TEST(VariableSmooth, IsItsDefinition) {
  RandomVectors random(91);
  for (const auto [R, B, H, W] : kSizes) {
    const Vec w = random.normal(B * H * W), q = random.uniform(B * H * W, 0.6, 40);
    const Vec got = smooth(w, q, R, B, H, W), want = naive(w, q, R, B, H, W);
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-12 * largest(want));
    const auto wf = as<float>(w), qf = as<float>(q);
    std::vector<float> sf(w.size()), scratch(static_cast<size_t>(variable_smooth_scratch(R, B, H, W)));
    variable_smooth_ref(sf.data(), scratch.data(), wf.data(), qf.data(), R, B, H, W);
    expect_close(sf, want, 1e-5, "float");  // exp_vec is right to 4e-6 at its largest arguments, sums of 1681 terms
  }
}

TEST(VariableSmooth, Gradient) {
  RandomVectors random(92);
  for (const auto [R, B, H, W] : kSizes) {
    const Vec w = random.normal(B * H * W), q = random.uniform(B * H * W, 0.6, 9), ds = random.normal(B * H * W);
    const double log_weight = 0.7;
    Vec dw(w.size(), NAN), dq(w.size(), NAN), scratch(static_cast<size_t>(variable_smooth_scratch(R, B, H, W)), NAN);
    variable_smooth_backward_ref(dw.data(), dq.data(), scratch.data(), ds.data(), w.data(), q.data(), log_weight, R, B, H, W);
    const auto value = [&](const Vec& weights, const Vec& widths) {
      double sum = 0;
      const Vec s = naive(weights, widths, R, B, H, W);
      for (size_t i = 0; i < s.size(); ++i) sum += ds[i] * s[i] + log_weight * std::log(widths[i]);
      return sum;
    };
    expect_gradient([&](const Vec& v) { return value(v, q); }, w, dw, "weights");
    expect_gradient([&](const Vec& v) { return value(w, v); }, q, dq, "widths");
    std::vector<float> dwf(w.size()), dqf(w.size()), scratch_f(scratch.size());
    variable_smooth_backward_ref(dwf.data(), dqf.data(), scratch_f.data(), as<float>(ds).data(), as<float>(w).data(), as<float>(q).data(),
                                 0.7f, R, B, H, W);
    expect_close(dwf, dw, 2e-5, "float, weights");  // as forward, with more that cancels
    expect_close(dqf, dq, 2e-5, "float, widths");
  }
}

}  // namespace
}  // namespace actmatch::kernels
