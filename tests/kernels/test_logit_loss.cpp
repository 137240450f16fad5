#include "kernels/logit_loss.h"

#include <functional>
#include <limits>

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

// One loss with everything but the logits bound: fills value and gradient (which may be null).
template <class T>
using Loss = std::function<void(T* value, T* gradient, const T* z, bool accumulate)>;

struct Case {
  Case(int64_t B_, int64_t P_, int64_t K_, uint64_t seed) : B(B_), P(P_), K(K_) {
    RandomVectors random(seed);
    z = random.normal(P * B * K, 2);
    target = random.normal(B * K, 2);
    weight = random.uniform(P * B, -1, 2);
    for (int64_t b = 0; b < B; ++b) label.push_back(static_cast<int32_t>(random.integer(0, K - 1)));
  }
  int64_t B, P, K;
  Vec z, target, weight;
  std::vector<int32_t> label;
};

template <class T>
std::vector<std::pair<std::string, Loss<T>>> losses(const Case& k, const std::vector<T>& target, const std::vector<T>& weight) {
  const T *t = target.data(), *w = weight.data();
  const int32_t* y = k.label.data();
  const int64_t B = k.B, P = k.P, K = k.K;
  return {
      {"kl T=2", [=](T* v, T* g, const T* z, bool a) { kl_logits_ref(v, g, z, t, w, T(2), B, P, K, a); }},
      {"kl T=0.7", [=](T* v, T* g, const T* z, bool a) { kl_logits_ref(v, g, z, t, w, T(0.7), B, P, K, a); }},
      {"ce", [=](T* v, T* g, const T* z, bool a) { cross_entropy_ref(v, g, z, y, w, B, P, K, a); }},
      {"margin", [=](T* v, T* g, const T* z, bool a) { margin_hinge_ref(v, g, z, y, w, T(1.5), B, P, K, a); }},
      {"necessity hinge", [=](T* v, T* g, const T* z, bool a) { necessity_hinge_ref(v, g, z, t, y, w, T(1), B, P, K, a); }},
      {"necessity log", [=](T* v, T* g, const T* z, bool a) { necessity_log_ref(v, g, z, y, w, B, P, K, a); }},
  };
}

double naive(const std::string& name, const Case& k, int64_t n) {
  const int64_t b = n % k.B;
  const double *z = &k.z[size_t(n * k.K)], *t = &k.target[size_t(b * k.K)];
  const int32_t y = k.label[size_t(b)];
  const auto softmax = [&](const double* x, double temperature) {
    Vec p;
    double sum = 0;
    for (int64_t j = 0; j < k.K; ++j) p.push_back(std::exp(x[j] / temperature)), sum += p.back();
    for (double& v : p) v /= sum;
    return p;
  };
  if (name.substr(0, 2) == "kl") {
    const double temperature = name == "kl T=2" ? 2 : 0.7;
    const Vec p = softmax(t, temperature), q = softmax(z, temperature);
    double sum = 0;
    for (size_t j = 0; j < p.size(); ++j) sum += p[j] * std::log(p[j] / q[j]);
    return temperature * temperature * sum;
  }
  if (name == "ce") return -std::log(softmax(z, 1)[size_t(y)]);
  if (name == "necessity hinge") return std::max(0.0, 1 - (t[y] - z[y]));
  if (name == "necessity log") return k.K == 1 ? 0 : -std::log(1 - softmax(z, 1)[size_t(y)]);
  double rival = -1e300;
  for (int64_t j = 0; j < k.K; ++j)
    if (j != y) rival = std::max(rival, z[j]);
  return k.K == 1 ? 0 : std::max(0.0, 1.5 - (z[y] - rival));
}

TEST(LogitLoss, ValuesAndGradients) {
  uint64_t seed = 1;
  for (const auto& [B, P, K] : {std::array<int64_t, 3>{1, 1, 1}, {1, 1, 2}, {2, 3, 5}, {3, 2, 17}, {1, 2, 301}, {4, 4, 3}}) {
    const Case k(B, P, K, seed++);
    const std::vector<float> target32 = as<float>(k.target), weight32 = as<float>(k.weight), z32 = as<float>(k.z);
    const auto in_double = losses<double>(k, k.target, k.weight);
    const auto in_float = losses<float>(k, target32, weight32);
    for (size_t l = 0; l < in_double.size(); ++l) {
      const auto& [name, loss] = in_double[l];
      const size_t rows = size_t(P * B);
      Vec value(rows), gradient(k.z.size(), 11.0);
      loss(value.data(), gradient.data(), k.z.data(), false);
      for (size_t n = 0; n < rows; ++n)  // a few dozen roundings; log(1 - p) by the naive formula loses up to three digits
        ASSERT_NEAR(value[n], naive(name, k, int64_t(n)), 1e-11 * (1 + std::abs(value[n]))) << name << " K " << K;
      const auto f = [&](const Vec& at) {
        Vec v(rows);
        loss(v.data(), nullptr, at.data(), false);
        double sum = 0;
        for (size_t n = 0; n < rows; ++n) sum += k.weight[n] * v[n];
        return sum;
      };
      expect_gradient(f, k.z, gradient, name + " K " + std::to_string(K));

      Vec added(gradient.size(), 2.0);
      loss(value.data(), added.data(), k.z.data(), true);
      for (size_t i = 0; i < added.size(); ++i) ASSERT_NEAR(added[i], gradient[i] + 2.0, 1e-14) << name;  // two roundings near 2

      std::vector<float> value32(rows), gradient32(k.z.size());
      in_float[l].second(value32.data(), gradient32.data(), z32.data(), false);
      // Logits up to 8 carry 5e-7 of rounding into exponentials and differences; divided by the temperature, twice multiplied by it.
      for (size_t n = 0; n < rows; ++n) ASSERT_NEAR(value32[n], value[n], 5e-6 * (1 + std::abs(value[n]))) << name;
      for (size_t i = 0; i < gradient.size(); ++i) ASSERT_NEAR(gradient32[i], gradient[i], 5e-6) << name;
    }
  }
}

TEST(LogitLoss, HandComputed) {
  const std::vector<int32_t> label{0};
  const Vec z{std::log(3.0), 0}, weight{1};  // p = (3/4, 1/4)
  Vec value(1), g(2);
  cross_entropy_ref(value.data(), g.data(), z.data(), label.data(), weight.data(), 1, 1, 2, false);
  EXPECT_NEAR(value[0], std::log(4.0 / 3), 1e-15);  // one rounding or two of numbers below 1
  EXPECT_NEAR(g[0], -0.25, 1e-15);
  EXPECT_NEAR(g[1], 0.25, 1e-15);
  necessity_log_ref(value.data(), g.data(), z.data(), label.data(), weight.data(), 1, 1, 2, false);
  EXPECT_NEAR(value[0], std::log(4.0), 1e-15);
  EXPECT_NEAR(g[0], 0.75, 1e-15);
  EXPECT_NEAR(g[1], -0.75, 1e-15);
  margin_hinge_ref(value.data(), g.data(), z.data(), label.data(), weight.data(), 2.0, 1, 1, 2, false);
  EXPECT_NEAR(value[0], 2 - std::log(3.0), 1e-15);
  EXPECT_EQ(g, (Vec{-1, 1}));
}

TEST(LogitLoss, HingesAreOffBeyondTheirMargin) {
  const std::vector<int32_t> label{1};
  const Vec z{0, 5, 1}, target{0, 9, 0}, weight{1};
  Vec value(1), g(3);
  margin_hinge_ref(value.data(), g.data(), z.data(), label.data(), weight.data(), 4.0, 1, 1, 3, false);  // exactly at the kink
  EXPECT_EQ(value[0], 0);
  EXPECT_EQ(g, (Vec{0, 0, 0}));
  necessity_hinge_ref(value.data(), g.data(), z.data(), target.data(), label.data(), weight.data(), 3.0, 1, 1, 3, false);
  EXPECT_EQ(value[0], 0);
  EXPECT_EQ(g, (Vec{0, 0, 0}));
  necessity_hinge_ref(value.data(), g.data(), z.data(), target.data(), label.data(), weight.data(), 6.0, 1, 1, 3, false);
  EXPECT_EQ(value[0], 2);
  EXPECT_EQ(g, (Vec{0, 1, 0}));
  const Vec tied{7, 5, 7};
  margin_hinge_ref(value.data(), g.data(), tied.data(), label.data(), weight.data(), 1.0, 1, 1, 3, false);
  EXPECT_EQ(g, (Vec{1, -1, 0}));  // the first rival takes it all
}

TEST(LogitLoss, ExtremeLogitsStayFiniteAndRight) {
  const std::vector<int32_t> label{0};
  const std::vector<float> weight{1}, target{0, 0, 0};
  for (float lead : {200.0f, 3000.0f, -200.0f, -3000.0f}) {
    const std::vector<float> z{lead, 0, -1};
    std::vector<float> value(1), g(3);
    necessity_log_ref(value.data(), g.data(), z.data(), label.data(), weight.data(), 1, 1, 3, false);
    const float others = std::log1p(std::exp(-1.0f));
    EXPECT_NEAR(value[0], std::max(0.0f, lead - others), 1e-6f * std::abs(lead)) << lead;  // float rounding of the lead
    EXPECT_NEAR(g[0], lead > 0 ? 1.0f : 0.0f, 1e-6f);
    cross_entropy_ref(value.data(), g.data(), z.data(), label.data(), weight.data(), 1, 1, 3, false);
    EXPECT_NEAR(value[0], std::max(0.0f, others - lead), 1e-6f * std::abs(lead)) << lead;
    kl_logits_ref(value.data(), g.data(), z.data(), target.data(), weight.data(), 2.0f, 1, 1, 3, false);
    EXPECT_TRUE(std::isfinite(value[0]));
    for (float v : g) EXPECT_TRUE(std::isfinite(v));
  }
}

TEST(LogitLoss, SoftmaxAndItsLogarithm) {
  RandomVectors random(9);
  const Vec z = random.normal(3 * 20, 5);
  Vec p(z.size()), log_p(z.size());
  std::vector<float> p32(z.size()), z32 = as<float>(z);
  softmax_ref(p.data(), z.data(), 3, 20);
  log_softmax_ref(log_p.data(), z.data(), 3, 20);
  softmax_ref(p32.data(), z32.data(), 3, 20);
  for (size_t n = 0; n < 3; ++n) {
    double sum = 0, direct = 0;
    for (size_t j = 0; j < 20; ++j) direct += std::exp(z[n * 20 + j]);
    for (size_t j = 0; j < 20; ++j) {
      const size_t i = n * 20 + j;
      sum += p[i];
      EXPECT_NEAR(p[i], std::exp(z[i]) / direct, 1e-14);  // roundings of numbers up to 1
      EXPECT_NEAR(log_p[i], z[i] - std::log(direct), 1e-12);
      EXPECT_NEAR(p32[i], p[i], 2e-6);  // logits up to 15: 1e-6 in the exponent
    }
    EXPECT_NEAR(sum, 1, 1e-14);
  }
  Vec in_place = z;
  softmax_ref(in_place.data(), in_place.data(), 3, 20);
  EXPECT_EQ(in_place, p);
}

TEST(LogitLoss, ClassScores) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> z{1,  3,   3,  2,   //
                             -1, -2,  -3, -4,  //
                             0,  nan, 1,  2,   //
                             5,  5,   5,  5};
  const std::vector<int32_t> label{2, 0};
  std::vector<int32_t> top(4);
  std::vector<float> p(4), all(16);
  class_scores_ref(top.data(), p.data(), z.data(), label.data(), 2, 2, 4);
  EXPECT_EQ(top, (std::vector<int32_t>{1, 0, -1, 0}));
  softmax_ref(all.data(), z.data(), 4, 4);
  EXPECT_EQ(p[0], all[2]);
  EXPECT_EQ(p[1], all[4]);
  EXPECT_TRUE(std::isnan(p[2]));
  EXPECT_FLOAT_EQ(p[3], 0.25f);
  std::vector<int32_t> only(4);
  class_scores_ref<float>(only.data(), nullptr, z.data(), label.data(), 2, 2, 4);
  EXPECT_EQ(only, top);
}

}  // namespace
}  // namespace actmatch::kernels
