#include "kernels/tap_distance.h"

#include <algorithm>
#include <cmath>

#include "kernels/vector_math.h"

namespace actmatch::kernels {
namespace {

constexpr double kCosineGuard = 1e-8;
constexpr double kMsePowerFloor = 1e-12;
constexpr double kSigmaGuard = 1e-6;

// Largest value and sum of exp(v - largest) over the channels, for n <= kBlock neighbouring positions of x [C, HW].
template <class T>
void softmax_stats(T* hi, T* sum, const T* x, int64_t C, int64_t HW, int64_t n) {
  std::copy_n(x, n, hi);
  for (int64_t c = 1; c < C; ++c)
    for (int64_t i = 0; i < n; ++i) hi[i] = hi[i] > x[c * HW + i] ? hi[i] : x[c * HW + i];
  std::fill_n(sum, n, T(0));
  for (int64_t c = 0; c < C; ++c)
    for (int64_t i = 0; i < n; ++i) sum[i] += exp_vec(x[c * HW + i] - hi[i]);
}

template <class T>
double prepare_kl_channels(T* prepared, const T* x, int64_t C, int64_t HW) {
  T hi[kBlock], sum[kBlock], entropy[kBlock];
  double total = 0;
  for (int64_t begin = 0; begin < HW; begin += kBlock, x += kBlock, prepared += kBlock) {
    const int64_t n = std::min(kBlock, HW - begin);
    softmax_stats(hi, sum, x, C, HW, n);
    // sum p log p = sum p (x - hi) - log(sum)
    for (int64_t i = 0; i < n; ++i) entropy[i] = -std::log(sum[i]);
    for (int64_t c = 0; c < C; ++c) {
      for (int64_t i = 0; i < n; ++i) {
        const T shifted = x[c * HW + i] - hi[i];
        const T p = exp_vec(shifted) / sum[i];
        entropy[i] += p * shifted;
        prepared[c * HW + i] = p;
      }
    }
    total += sum_of<T>(n, [&](int64_t i) { return entropy[i]; });
  }
  return total / static_cast<double>(HW);
}

template <class T>
double kl_channels(T* gradient, const T* v, const T* p, double constant, T weight, int64_t C, int64_t HW, bool accumulate) {
  T hi[kBlock], sum[kBlock], cross[kBlock];
  const T scale = weight / static_cast<T>(HW);
  double total = 0;
  for (int64_t begin = 0; begin < HW; begin += kBlock, v += kBlock, p += kBlock) {
    const int64_t n = std::min(kBlock, HW - begin);
    softmax_stats(hi, sum, v, C, HW, n);
    for (int64_t i = 0; i < n; ++i) cross[i] = std::log(sum[i]);
    for (int64_t c = 0; c < C; ++c)
      for (int64_t i = 0; i < n; ++i) cross[i] -= p[c * HW + i] * (v[c * HW + i] - hi[i]);
    total += sum_of<T>(n, [&](int64_t i) { return cross[i]; });
    if (!gradient) continue;
    T* g = gradient + begin;
    for (int64_t c = 0; c < C; ++c) {
      const int64_t row = c * HW;
      if (accumulate) {
        for (int64_t i = 0; i < n; ++i) g[row + i] += scale * (exp_vec(v[row + i] - hi[i]) / sum[i] - p[row + i]);
      } else {
        for (int64_t i = 0; i < n; ++i) g[row + i] = scale * (exp_vec(v[row + i] - hi[i]) / sum[i] - p[row + i]);
      }
    }
  }
  return constant + total / static_cast<double>(HW);
}

template <class T>
double prepare_kl_positions(T* prepared, const T* x, int64_t C, int64_t HW) {
  double total = 0;
  for (int64_t c = 0; c < C; ++c, x += HW, prepared += HW) {
    const T hi = max_of(x, HW);
    const double sum = sum_of<T>(HW, [&](int64_t i) { return exp_vec(x[i] - hi); });
    const T inverse = static_cast<T>(1 / sum);
    total += sum_of<T>(HW, [&](int64_t i) { return exp_vec(x[i] - hi) * inverse * (x[i] - hi); }) - std::log(sum);
    for (int64_t i = 0; i < HW; ++i) prepared[i] = exp_vec(x[i] - hi) * inverse;
  }
  return total / static_cast<double>(C);
}

template <class T>
double kl_positions(T* gradient, const T* v, const T* p, double constant, T weight, int64_t C, int64_t HW, bool accumulate) {
  const T scale = weight / static_cast<T>(C);
  double total = 0;
  for (int64_t c = 0; c < C; ++c, v += HW, p += HW) {
    const T hi = max_of(v, HW);
    const double sum = sum_of<T>(HW, [&](int64_t i) { return exp_vec(v[i] - hi); });
    total += std::log(sum) - sum_of<T>(HW, [&](int64_t i) { return p[i] * (v[i] - hi); });
    if (!gradient) continue;
    T* g = gradient + c * HW;
    const T inverse = static_cast<T>(1 / sum);
    if (accumulate) {
      for (int64_t i = 0; i < HW; ++i) g[i] += scale * (exp_vec(v[i] - hi) * inverse - p[i]);
    } else {
      for (int64_t i = 0; i < HW; ++i) g[i] = scale * (exp_vec(v[i] - hi) * inverse - p[i]);
    }
  }
  return constant + total / static_cast<double>(C);
}

// 1 / |x[:, i]| for n positions, 0 where the norm is within the guard.
template <class T>
void inverse_norms(T* inverse, const T* x, int64_t C, int64_t HW, int64_t n) {
  std::fill_n(inverse, n, T(0));
  for (int64_t c = 0; c < C; ++c)
    for (int64_t i = 0; i < n; ++i) inverse[i] += x[c * HW + i] * x[c * HW + i];
  for (int64_t i = 0; i < n; ++i) {
    const T norm = std::sqrt(inverse[i]);
    inverse[i] = norm <= T(kCosineGuard) ? T(0) : T(1) / norm;
  }
}

template <class T>
double prepare_cosine(T* prepared, const T* x, int64_t C, int64_t HW) {
  T inverse[kBlock];
  for (int64_t begin = 0; begin < HW; begin += kBlock, x += kBlock, prepared += kBlock) {
    const int64_t n = std::min(kBlock, HW - begin);
    inverse_norms(inverse, x, C, HW, n);
    for (int64_t c = 0; c < C; ++c)
      for (int64_t i = 0; i < n; ++i) prepared[c * HW + i] = x[c * HW + i] * inverse[i];
  }
  return 0;
}

template <class T>
double cosine(T* gradient, const T* v, const T* unit, T weight, int64_t C, int64_t HW, bool accumulate) {
  T inverse[kBlock], cos[kBlock];
  const T scale = -weight / static_cast<T>(HW);
  double total = 0;
  for (int64_t begin = 0; begin < HW; begin += kBlock, v += kBlock, unit += kBlock) {
    const int64_t n = std::min(kBlock, HW - begin);
    inverse_norms(inverse, v, C, HW, n);
    std::fill_n(cos, n, T(0));
    for (int64_t c = 0; c < C; ++c)
      for (int64_t i = 0; i < n; ++i) cos[i] += unit[c * HW + i] * v[c * HW + i];
    for (int64_t i = 0; i < n; ++i) cos[i] *= inverse[i];
    total += sum_of<T>(n, [&](int64_t i) { return cos[i]; });
    if (!gradient) continue;
    // d cos / dv = (unit - cos * v / |v|) / |v|
    for (int64_t i = 0; i < n; ++i) cos[i] *= inverse[i];
    T* g = gradient + begin;
    for (int64_t c = 0; c < C; ++c) {
      const int64_t row = c * HW;
      if (accumulate) {
        for (int64_t i = 0; i < n; ++i) g[row + i] += scale * inverse[i] * (unit[row + i] - cos[i] * v[row + i]);
      } else {
        for (int64_t i = 0; i < n; ++i) g[row + i] = scale * inverse[i] * (unit[row + i] - cos[i] * v[row + i]);
      }
    }
  }
  return 1 - total / static_cast<double>(HW);
}

template <class T>
double mse(T* gradient, const T* v, const T* a, double power, T weight, int64_t count, bool accumulate) {
  const double sum = sum_of<T>(count, [&](int64_t i) { return (v[i] - a[i]) * (v[i] - a[i]); });
  const double denominator = power * static_cast<double>(count);
  if (gradient) {
    const T scale = static_cast<T>(2 * static_cast<double>(weight) / denominator);
    if (accumulate) {
      for (int64_t i = 0; i < count; ++i) gradient[i] += scale * (v[i] - a[i]);
    } else {
      for (int64_t i = 0; i < count; ++i) gradient[i] = scale * (v[i] - a[i]);
    }
  }
  return sum / denominator;
}

template <class T>
struct RowStats {
  T first, shift;  // the mean is first + shift; kept apart so that a constant row is exactly zero after centring
  double sigma;
};

template <class T>
RowStats<T> row_stats(const T* x, int64_t HW) {
  RowStats<T> stats;
  stats.first = x[0];
  const double count = static_cast<double>(HW);
  stats.shift = static_cast<T>(sum_of<T>(HW, [&](int64_t i) { return x[i] - stats.first; }) / count);
  const double sum = sum_of<T>(HW, [&](int64_t i) {
    const T u = (x[i] - stats.first) - stats.shift;
    return u * u;
  });
  stats.sigma = std::sqrt(sum / count);
  return stats;
}

template <class T>
double prepare_standardised(T* prepared, const T* x, int64_t C, int64_t HW) {
  for (int64_t c = 0; c < C; ++c, x += HW, prepared += HW) {
    const RowStats<T> stats = row_stats(x, HW);
    const T inverse = static_cast<T>(1 / (stats.sigma + kSigmaGuard));
    for (int64_t i = 0; i < HW; ++i) prepared[i] = ((x[i] - stats.first) - stats.shift) * inverse;
  }
  return 0;
}

template <class T>
double standardised_mse(T* gradient, const T* v, const T* target, T weight, int64_t C, int64_t HW, bool accumulate) {
  const double count = static_cast<double>(C) * static_cast<double>(HW);
  double total = 0;
  for (int64_t c = 0; c < C; ++c, v += HW, target += HW) {
    const RowStats<T> stats = row_stats(v, HW);
    const T inverse = static_cast<T>(1 / (stats.sigma + kSigmaGuard));
    const auto y = [&](int64_t i) { return ((v[i] - stats.first) - stats.shift) * inverse; };
    total += sum_of<T>(HW, [&](int64_t i) { return (y(i) - target[i]) * (y(i) - target[i]); });
    if (!gradient) continue;
    // With d = y - target, whose mean over the row is zero:
    //   gradient = scale * (d / (sigma + guard) - y * (sum d y) / (HW sigma)), the second part from sigma's own gradient.
    const double cross = sum_of<T>(HW, [&](int64_t i) { return (y(i) - target[i]) * y(i); });
    const T scale = static_cast<T>(2 * static_cast<double>(weight) / count);
    const T pull = stats.sigma > 0 ? static_cast<T>(cross / (static_cast<double>(HW) * stats.sigma)) : T(0);
    T* g = gradient + c * HW;
    if (accumulate) {
      for (int64_t i = 0; i < HW; ++i) g[i] += scale * ((y(i) - target[i]) * inverse - y(i) * pull);
    } else {
      for (int64_t i = 0; i < HW; ++i) g[i] = scale * ((y(i) - target[i]) * inverse - y(i) * pull);
    }
  }
  return total / count;
}

}  // namespace

template <class T>
void tap_prepare_ref(T* prepared, T* constant, const T* reference, TapDistance kind, int64_t B, int64_t C, int64_t HW) {
  const int64_t size = C * HW;
  for (int64_t b = 0; b < B; ++b, prepared += size, reference += size) {
    double result = 0;
    switch (kind) {
      case TapDistance::kKlChannels: result = prepare_kl_channels(prepared, reference, C, HW); break;
      case TapDistance::kKlPositions: result = prepare_kl_positions(prepared, reference, C, HW); break;
      case TapDistance::kCosine: result = prepare_cosine(prepared, reference, C, HW); break;
      case TapDistance::kMse:
        result = sum_of<T>(size, [&](int64_t i) { return reference[i] * reference[i]; }) / static_cast<double>(size);
        result = std::max(result, kMsePowerFloor);
        if (prepared != reference) std::copy_n(reference, size, prepared);
        break;
      case TapDistance::kStandardisedMse: result = prepare_standardised(prepared, reference, C, HW); break;
    }
    constant[b] = static_cast<T>(result);
  }
}

template <class T>
void tap_distance_ref(T* value, T* gradient, const T* current, const T* prepared, const T* constant, const T* weight, TapDistance kind,
                      int64_t B, int64_t P, int64_t C, int64_t HW, bool accumulate) {
  const int64_t size = C * HW;
  for (int64_t n = 0; n < P * B; ++n) {
    const T* v = current + n * size;
    const T* saved = prepared + (n % B) * size;
    const auto known = static_cast<double>(constant[n % B]);
    T* g = gradient ? gradient + n * size : nullptr;
    double result = 0;
    switch (kind) {
      case TapDistance::kKlChannels: result = kl_channels(g, v, saved, known, weight[n], C, HW, accumulate); break;
      case TapDistance::kKlPositions: result = kl_positions(g, v, saved, known, weight[n], C, HW, accumulate); break;
      case TapDistance::kCosine: result = cosine(g, v, saved, weight[n], C, HW, accumulate); break;
      case TapDistance::kMse: result = mse(g, v, saved, known, weight[n], size, accumulate); break;
      case TapDistance::kStandardisedMse: result = standardised_mse(g, v, saved, weight[n], C, HW, accumulate); break;
    }
    value[n] = static_cast<T>(result);
  }
}

#define ACTMATCH_INSTANTIATE(T)                                                               \
  template void tap_prepare_ref<T>(T*, T*, const T*, TapDistance, int64_t, int64_t, int64_t); \
  template void tap_distance_ref<T>(T*, T*, const T*, const T*, const T*, const T*, TapDistance, int64_t, int64_t, int64_t, int64_t, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
