// Shared by the kernel tests: random vectors, conversion between precisions, central differences.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace actmatch::kernels {

using Vec = std::vector<double>;

class RandomVectors {
 public:
  explicit RandomVectors(uint64_t seed) : engine_(seed) {}
  Vec normal(int64_t n, double scale = 1) {
    std::normal_distribution<double> distribution(0, scale);
    Vec v(static_cast<size_t>(n));
    for (double& x : v) x = distribution(engine_);
    return v;
  }
  Vec uniform(int64_t n, double low, double high) {
    std::uniform_real_distribution<double> distribution(low, high);
    Vec v(static_cast<size_t>(n));
    for (double& x : v) x = distribution(engine_);
    return v;
  }
  int64_t integer(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(engine_); }

 private:
  std::mt19937_64 engine_;
};

template <class T>
std::vector<T> as(const Vec& v) {
  return std::vector<T>(v.begin(), v.end());
}

inline double largest(const Vec& v) {
  double best = 0;
  for (double x : v) best = std::max(best, std::abs(x));
  return best;
}

// Images [rows, columns] one after the other as [columns, rows].
template <class T>
std::vector<T> transposed(const std::vector<T>& v, int64_t rows, int64_t columns) {
  std::vector<T> out(v.size());
  const auto R = static_cast<size_t>(rows), C = static_cast<size_t>(columns);
  for (size_t i = 0; i < v.size(); ++i) out[i / (R * C) * (R * C) + i % C * R + i / C % R] = v[i];
  return out;
}

// Central differences of f at x against the analytic gradient. With step 1e-5 the formula's own error is about 1e-10 of the third
// derivative, and rounding adds 2e-16 |f| / 1e-5 = 2e-11 |f|; for functions of size about 1, 1e-6 of the largest entry leaves two digits of
// room. The floor 1e-3 is for gradients that are zero altogether.
template <class Function>
void expect_gradient(Function f, Vec x, const Vec& gradient, const std::string& what, double step = 1e-5) {
  ASSERT_EQ(x.size(), gradient.size()) << what;
  const double tolerance = 1e-6 * std::max(largest(gradient), 1e-3);
  for (size_t i = 0; i < x.size(); ++i) {
    const double kept = x[i];
    x[i] = kept + step;
    const double up = f(x);
    x[i] = kept - step;
    const double down = f(x);
    x[i] = kept;
    ASSERT_NEAR((up - down) / (2 * step), gradient[i], tolerance) << what << ", entry " << i;
  }
}

// Every entry within `relative` of the largest magnitude in `expected`.
template <class T>
void expect_close(const std::vector<T>& got, const Vec& expected, double relative, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  const double tolerance = relative * std::max(largest(expected), 1e-30);
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(static_cast<double>(got[i]), expected[i], tolerance) << what << ", entry " << i;
}

}  // namespace actmatch::kernels
