// Random arrays for tests: values exactly representable in fp32 (so that float and double runs start from the same numbers), kept away
// from the kinks of piecewise functions where a test needs derivatives.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "tests/oracle/array.h"

namespace actmatch::test {

using Doubles = oracle::Array<double>;

class RandomArrays {
 public:
  explicit RandomArrays(uint64_t seed) : engine_(seed) {}

  double uniform(double low, double high) {
    // From the generator's bits, not a library distribution: the same numbers with every standard library.
    return low + (high - low) * (static_cast<double>(engine_() >> 11) * 0x1p-53);
  }
  int64_t integer(int64_t low, int64_t high) { return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1)); }
  bool chance(double p) { return uniform(0, 1) < p; }

  Doubles uniform(Shape shape, double low = -1, double high = 1) {
    Doubles a(std::move(shape));
    for (double& v : a.data) v = static_cast<float>(uniform(low, high));
    return a;
  }
  // Uniform, but no closer than `margin` to any of the kinks.
  Doubles away_from(Shape shape, const std::vector<double>& kinks, double low = -2, double high = 2, double margin = 0.05) {
    Doubles a(std::move(shape));
    for (double& v : a.data) do
        v = static_cast<float>(uniform(low, high));
      while (std::any_of(kinks.begin(), kinks.end(), [&](double k) { return std::abs(v - k) < margin; }));
    return a;
  }
  // All different, at least `gap` apart, in random order, centred on 0: the maximum of any subset is clear.
  Doubles distinct(Shape shape, double gap = 0.0625) {
    Doubles a(std::move(shape));
    std::vector<int64_t> order(a.data.size());
    std::iota(order.begin(), order.end(), int64_t{0});
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[static_cast<size_t>(integer(0, static_cast<int64_t>(i) - 1))]);
    for (size_t i = 0; i < order.size(); ++i) a.data[i] = gap * static_cast<double>(order[i] - static_cast<int64_t>(order.size()) / 2);
    return a;
  }
  Doubles flags(Shape shape) {
    Doubles a(std::move(shape));
    for (double& v : a.data) v = chance(0.5) ? 1 : 0;
    return a;
  }

 private:
  std::mt19937_64 engine_;
};

inline Doubles of_values(Shape shape, std::vector<double> values) {
  Doubles a(std::move(shape));
  if (a.data.size() != values.size()) throw std::invalid_argument("wrong number of values");
  a.data = std::move(values);
  return a;
}

inline Tensor to_tensor(const Doubles& a, DType dtype = DType::kF32) {
  Tensor t(dtype, a.shape);
  for (int64_t i = 0; i < a.count(); ++i) switch (dtype) {
      case DType::kF32: t.data<float>()[i] = static_cast<float>(a[i]); break;
      case DType::kI64: t.data<int64_t>()[i] = static_cast<int64_t>(a[i]); break;
      case DType::kBool: t.data<uint8_t>()[i] = a[i] != 0; break;
    }
  return t;
}

}  // namespace actmatch::test
