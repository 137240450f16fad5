#include "kernels/tap_distance.h"

#include <array>

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

constexpr TapDistance kAll[] = {TapDistance::kKlChannels, TapDistance::kKlPositions, TapDistance::kCosine, TapDistance::kMse,
                                TapDistance::kStandardisedMse};
const char* const kNames[] = {"kl_channels", "kl_positions", "cosine", "mse", "standardised_mse"};

// The definitions, straight from the formulas: one image, [C, HW], loops in the order of the symbols.
double kl_of(const Vec& a, const Vec& v) {
  double za = 0, zv = 0, sum = 0;
  for (size_t j = 0; j < a.size(); ++j) za += std::exp(a[j]), zv += std::exp(v[j]);
  for (size_t j = 0; j < a.size(); ++j) sum += std::exp(a[j]) / za * std::log((std::exp(a[j]) / za) / (std::exp(v[j]) / zv));
  return sum;
}

double naive(TapDistance kind, const double* a, const double* v, int64_t C, int64_t HW) {
  const auto column = [&](const double* x, int64_t i) {
    Vec out;
    for (int64_t c = 0; c < C; ++c) out.push_back(x[c * HW + i]);
    return out;
  };
  const auto row = [&](const double* x, int64_t c) { return Vec(x + c * HW, x + (c + 1) * HW); };
  double sum = 0, power = 0;
  switch (kind) {
    case TapDistance::kKlChannels:
      for (int64_t i = 0; i < HW; ++i) sum += kl_of(column(a, i), column(v, i));
      return sum / double(HW);
    case TapDistance::kKlPositions:
      for (int64_t c = 0; c < C; ++c) sum += kl_of(row(a, c), row(v, c));
      return sum / double(C);
    case TapDistance::kCosine:
      for (int64_t i = 0; i < HW; ++i) {
        const Vec p = column(a, i), q = column(v, i);
        double pq = 0, pp = 0, qq = 0;
        for (size_t j = 0; j < p.size(); ++j) pq += p[j] * q[j], pp += p[j] * p[j], qq += q[j] * q[j];
        if (std::sqrt(pp) > 1e-8 && std::sqrt(qq) > 1e-8) sum += pq / std::sqrt(pp * qq);
      }
      return 1 - sum / double(HW);
    case TapDistance::kMse:
      for (int64_t j = 0; j < C * HW; ++j) sum += (a[j] - v[j]) * (a[j] - v[j]), power += a[j] * a[j];
      return sum / power;
    case TapDistance::kStandardisedMse:
      for (int64_t c = 0; c < C; ++c) {
        Vec rows[2] = {row(a, c), row(v, c)};
        for (Vec& r : rows) {
          double mean = 0, variance = 0;
          for (double x : r) mean += x / double(HW);
          for (double x : r) variance += (x - mean) * (x - mean) / double(HW);
          for (double& x : r) x = (x - mean) / (std::sqrt(variance) + 1e-6);
        }
        for (size_t i = 0; i < rows[0].size(); ++i) sum += (rows[0][i] - rows[1][i]) * (rows[0][i] - rows[1][i]);
      }
      return sum / double(C * HW);
  }
  return 0;
}

template <class T>
struct Result {
  std::vector<T> value, gradient;
};

constexpr ChannelOrder kOrders[] = {ChannelOrder::kFirst, ChannelOrder::kLast};

// Everything given and returned is [C, HW], whatever the order that it goes through.
template <class T>
Result<T> run(TapDistance kind, ChannelOrder order, const Vec& reference, const Vec& current, const Vec& weight, int64_t B, int64_t P,
              int64_t C, int64_t HW, bool accumulate = false, T start = T(77)) {
  const bool last = order == ChannelOrder::kLast;
  const auto there = [&](const Vec& v) { return as<T>(last ? transposed(v, C, HW) : v); };
  std::vector<T> prepared(reference.size()), constant(static_cast<size_t>(B));
  tap_prepare_ref(prepared.data(), constant.data(), there(reference).data(), kind, order, B, C, HW);
  Result<T> r{std::vector<T>(weight.size(), T(-5)), std::vector<T>(current.size(), start)};
  tap_distance_ref(r.value.data(), r.gradient.data(), there(current).data(), prepared.data(), constant.data(), as<T>(weight).data(), kind,
                   order, B, P, C, HW, accumulate);
  if (last) r.gradient = transposed(r.gradient, HW, C);
  return r;
}

struct Shape {
  int64_t B, P, C, HW;
};
const Shape kShapes[] = {{1, 1, 1, 1}, {1, 1, 1, 9}, {1, 2, 5, 1}, {2, 1, 3, 7}, {2, 3, 4, 5}, {1, 1, 2, 261}, {3, 1, 17, 12}};

TEST(TapDistance, ValueIsTheDefinition) {
  for (TapDistance kind : kAll) {
    RandomVectors random(10 + uint64_t(kind));
    for (const Shape& s : kShapes) {
      for (ChannelOrder order : kOrders) {
        const int64_t size = s.C * s.HW;
        const Vec reference = random.normal(s.B * size, 1.5), current = random.normal(s.P * s.B * size, 1.5),
                  weight(size_t(s.P * s.B), 2.0);
        const auto r = run<double>(kind, order, reference, current, weight, s.B, s.P, s.C, s.HW);
        const auto r32 = run<float>(kind, order, reference, current, weight, s.B, s.P, s.C, s.HW);
        for (int64_t n = 0; n < s.P * s.B; ++n) {
          const double expected = naive(kind, &reference[size_t((n % s.B) * size)], &current[size_t(n * size)], s.C, s.HW);
          EXPECT_NEAR(r.value[size_t(n)], expected, 1e-12 * (1 + std::abs(expected)))
              << kNames[int(kind)];  // some hundred roundings in double
          EXPECT_NEAR(r32.value[size_t(n)], expected, 2e-6 * (1 + std::abs(expected)))
              << kNames[int(kind)];  // in float: 6e-8 on terms up to 10
        }
      }
    }
  }
}

TEST(TapDistance, GradientAgainstCentralDifferences) {
  for (TapDistance kind : kAll) {
    RandomVectors random(20 + uint64_t(kind));
    for (const Shape& s : kShapes) {
      for (ChannelOrder order : kOrders) {
        const int64_t size = s.C * s.HW;
        const Vec reference = random.normal(s.B * size), current = random.normal(s.P * s.B * size), weight = random.normal(s.P * s.B);
        const auto r = run<double>(kind, order, reference, current, weight, s.B, s.P, s.C, s.HW);
        const auto f = [&](const Vec& at) {
          const auto v = run<double>(kind, order, reference, at, weight, s.B, s.P, s.C, s.HW).value;
          double sum = 0;
          for (size_t n = 0; n < v.size(); ++n) sum += weight[n] * v[n];
          return sum;
        };
        expect_gradient(f, current, r.gradient,
                        std::string(kNames[int(kind)]) + " C " + std::to_string(s.C) + " HW " + std::to_string(s.HW));
        const auto r32 = run<float>(kind, order, reference, current, weight, s.B, s.P, s.C, s.HW);
        if (largest(r.gradient) > 1e-6)
          expect_close(r32.gradient, r.gradient, 1e-5, kNames[int(kind)]);  // float rounding, cancelling differences
      }
    }
  }
}

TEST(TapDistance, EqualInputsAreAtDistanceZeroWithZeroGradient) {
  RandomVectors random(30);
  const Vec x = random.normal(2 * 6 * 50);
  for (TapDistance kind : kAll) {
    for (ChannelOrder order : kOrders) {
      const auto r = run<float>(kind, order, x, x, Vec{1, 1}, 2, 1, 6, 50);
      for (float v : r.value) EXPECT_NEAR(v, 0, 1e-6) << kNames[int(kind)];  // differences of float sums of size about 2
      for (float g : r.gradient) EXPECT_NEAR(g, 0, 1e-7) << kNames[int(kind)];
    }
  }
}

TEST(TapDistance, AccumulateAddsAndNullGradientIsAllowed) {
  RandomVectors random(31);
  const int64_t C = 3, HW = 10;
  const Vec reference = random.normal(C * HW), current = random.normal(C * HW), weight{0.7};
  for (TapDistance kind : kAll) {
    for (ChannelOrder order : kOrders) {
      const auto fresh = run<double>(kind, order, reference, current, weight, 1, 1, C, HW);
      const auto added = run<double>(kind, order, reference, current, weight, 1, 1, C, HW, true, 4.0);
      for (size_t i = 0; i < added.gradient.size(); ++i) EXPECT_DOUBLE_EQ(added.gradient[i], fresh.gradient[i] + 4.0);
      const bool last = order == ChannelOrder::kLast;
      Vec prepared = last ? transposed(reference, C, HW) : reference, constant(1), value(1);
      const Vec there = last ? transposed(current, C, HW) : current;
      tap_prepare_ref(prepared.data(), constant.data(), prepared.data(), kind, order, 1, C, HW);  // in place
      tap_distance_ref<double>(value.data(), nullptr, there.data(), prepared.data(), constant.data(), weight.data(), kind, order, 1, 1, C,
                               HW, false);
      EXPECT_EQ(value, fresh.value) << kNames[int(kind)];
    }
  }
}

TEST(TapDistance, LargeActivationsStayFinite) {
  RandomVectors random(32);
  const Vec reference = random.normal(4 * 20, 400), current = random.normal(4 * 20, 400);
  for (TapDistance kind : kAll) {
    for (ChannelOrder order : kOrders) {
      const auto r = run<float>(kind, order, reference, current, Vec{1}, 1, 1, 4, 20);
      const auto exact = run<double>(kind, order, reference, current, Vec{1}, 1, 1, 4, 20);
      // Where p or q underflows in float (e^-87), the term it drops is below 1e-35; else rounding of numbers about 1000.
      EXPECT_NEAR(r.value[0] / exact.value[0], 1, 1e-5) << kNames[int(kind)];
      for (float g : r.gradient) EXPECT_TRUE(std::isfinite(g));
    }
  }
}

TEST(TapDistance, DeadPositionsAndConstantMapsPassNoGradient) {
  for (ChannelOrder order : kOrders) {
    // Cosine: position 1 of the current tap is all zero, position 2 of the reference is.
    const Vec reference{1, 2, 0, 3, 1, 0}, current{2, 0, 1, 1, 0, 1};
    const auto cosine = run<double>(TapDistance::kCosine, order, reference, current, Vec{1}, 1, 1, 2, 3);
    EXPECT_NEAR(cosine.value[0], 1 - (5 / std::sqrt(50.0)) / 3, 1e-14);  // only position 0 counts: (1,3).(2,1) = 5
    for (size_t i : {1, 2, 4, 5}) EXPECT_EQ(cosine.gradient[i], 0);
    // Standardised: a constant current map, at a value float sums cannot hold exactly, must come out as zeros and not as amplified
    // rounding.
    RandomVectors random(33);
    const Vec target = random.normal(300), flat(300, 0.1);
    const auto standardised = run<float>(TapDistance::kStandardisedMse, order, target, flat, Vec{1}, 1, 1, 1, 300);
    EXPECT_NEAR(standardised.value[0], 1, 1e-5);  // the mean square of a standardised map, less 2e-6 for the guard
    const auto both = run<float>(TapDistance::kStandardisedMse, order, flat, flat, Vec{1}, 1, 1, 1, 300);
    EXPECT_EQ(both.value[0], 0);
    // mse: an all-zero reference divides by the floor.
    const auto zero = run<double>(TapDistance::kMse, order, Vec(4, 0.0), Vec(4, 1e-6), Vec{1}, 1, 1, 2, 2);
    EXPECT_NEAR(zero.value[0], 1, 1e-12);  // 1e-12 / 1e-12
  }
}

TEST(TapDistance, HandComputed) {
  // Two channels, one position: p = (1/2, 1/2), q = (1/4, 3/4).
  const auto kl = run<double>(TapDistance::kKlChannels, ChannelOrder::kFirst, Vec{0, 0}, Vec{0, std::log(3.0)}, Vec{1}, 1, 1, 2, 1);
  EXPECT_NEAR(kl.value[0], 0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3), 1e-15);  // rounding of numbers below 1
  EXPECT_NEAR(kl.gradient[0], -0.25, 1e-15);
  EXPECT_NEAR(kl.gradient[1], 0.25, 1e-15);
  const auto mse = run<double>(TapDistance::kMse, ChannelOrder::kFirst, Vec{1, 2, 2}, Vec{1, 2, 5}, Vec{1}, 1, 1, 1, 3);
  EXPECT_DOUBLE_EQ(mse.value[0], 1.0);  // 9 / 9
  EXPECT_DOUBLE_EQ(mse.gradient[2], 2.0 * 3 / 9);
}

}  // namespace
}  // namespace actmatch::kernels
