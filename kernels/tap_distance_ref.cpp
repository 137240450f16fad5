#include "kernels/tap_distance.h"

#include <algorithm>
#include <cmath>

#include "kernels/vector_math.h"

namespace actmatch::kernels {
namespace {

constexpr double kCosineGuard = 1e-8;
constexpr double kMsePowerFloor = 1e-12;
constexpr double kSigmaGuard = 1e-6;

// A matrix lies as [rows, length] and a function looks along its rows, or as [length, columns] and it looks down its columns, kBlock of
// them at a time. What is returned is a sum over those rows or columns; gradients are of their mean.

// g[i] = (or +=) term(i).
template <class T, class Term>
void emit(T* g, int64_t n, bool accumulate, Term term) {
  if (accumulate) {
    for (int64_t i = 0; i < n; ++i) g[i] += term(i);
  } else {
    for (int64_t i = 0; i < n; ++i) g[i] = term(i);
  }
}

// Largest value and sum of exp(v - largest) of n <= kBlock neighbouring columns.
template <class T>
void softmax_stats(T* hi, T* sum, const T* x, int64_t length, int64_t columns, int64_t n) {
  std::copy_n(x, n, hi);
  for (int64_t r = 1; r < length; ++r)
    for (int64_t i = 0; i < n; ++i) hi[i] = hi[i] > x[r * columns + i] ? hi[i] : x[r * columns + i];
  std::fill_n(sum, n, T(0));
  for (int64_t r = 0; r < length; ++r)
    for (int64_t i = 0; i < n; ++i) sum[i] += exp_vec(x[r * columns + i] - hi[i]);
}

template <class T>
double prepare_kl_columns(T* prepared, const T* x, int64_t length, int64_t columns) {
  T hi[kBlock], sum[kBlock], entropy[kBlock];
  double total = 0;
  for (int64_t begin = 0; begin < columns; begin += kBlock, x += kBlock, prepared += kBlock) {
    const int64_t n = std::min(kBlock, columns - begin);
    softmax_stats(hi, sum, x, length, columns, n);
    // sum p log p = sum p (x - hi) - log(sum)
    for (int64_t i = 0; i < n; ++i) entropy[i] = -std::log(sum[i]);
    for (int64_t r = 0; r < length; ++r) {
      for (int64_t i = 0; i < n; ++i) {
        const T shifted = x[r * columns + i] - hi[i];
        const T p = exp_vec(shifted) / sum[i];
        entropy[i] += p * shifted;
        prepared[r * columns + i] = p;
      }
    }
    total += sum_of<T>(n, [&](int64_t i) { return entropy[i]; });
  }
  return total;
}

template <class T>
double kl_columns(T* gradient, const T* v, const T* p, T weight, int64_t length, int64_t columns, bool accumulate) {
  T hi[kBlock], sum[kBlock], cross[kBlock];
  const T scale = weight / static_cast<T>(columns);
  double total = 0;
  for (int64_t begin = 0; begin < columns; begin += kBlock, v += kBlock, p += kBlock) {
    const int64_t n = std::min(kBlock, columns - begin);
    softmax_stats(hi, sum, v, length, columns, n);
    for (int64_t i = 0; i < n; ++i) cross[i] = std::log(sum[i]);
    for (int64_t r = 0; r < length; ++r)
      for (int64_t i = 0; i < n; ++i) cross[i] -= p[r * columns + i] * (v[r * columns + i] - hi[i]);
    total += sum_of<T>(n, [&](int64_t i) { return cross[i]; });
    for (int64_t r = 0; gradient && r < length; ++r) {
      const int64_t row = r * columns;
      emit(gradient + begin + row, n, accumulate, [&](int64_t i) { return scale * (exp_vec(v[row + i] - hi[i]) / sum[i] - p[row + i]); });
    }
  }
  return total;
}

template <class T>
double prepare_kl_rows(T* prepared, const T* x, int64_t rows, int64_t length) {
  double total = 0;
  for (int64_t r = 0; r < rows; ++r, x += length, prepared += length) {
    const T hi = max_of(x, length);
    const double sum = sum_of<T>(length, [&](int64_t i) { return exp_vec(x[i] - hi); });
    const T inverse = static_cast<T>(1 / sum);
    total += sum_of<T>(length, [&](int64_t i) { return exp_vec(x[i] - hi) * inverse * (x[i] - hi); }) - std::log(sum);
    for (int64_t i = 0; i < length; ++i) prepared[i] = exp_vec(x[i] - hi) * inverse;
  }
  return total;
}

template <class T>
double kl_rows(T* gradient, const T* v, const T* p, T weight, int64_t rows, int64_t length, bool accumulate) {
  const T scale = weight / static_cast<T>(rows);
  double total = 0;
  for (int64_t r = 0; r < rows; ++r, v += length, p += length) {
    const T hi = max_of(v, length);
    const double sum = sum_of<T>(length, [&](int64_t i) { return exp_vec(v[i] - hi); });
    total += std::log(sum) - sum_of<T>(length, [&](int64_t i) { return p[i] * (v[i] - hi); });
    if (!gradient) continue;
    const T inverse = static_cast<T>(1 / sum);
    emit(gradient + r * length, length, accumulate, [&](int64_t i) { return scale * (exp_vec(v[i] - hi) * inverse - p[i]); });
  }
  return total;
}

// 1 / |x|, 0 where the norm is within the guard.
template <class T>
T inverse_norm(T norm) {
  return norm <= T(kCosineGuard) ? T(0) : T(1) / norm;
}
template <class T>
void inverse_norms(T* inverse, const T* x, int64_t length, int64_t columns, int64_t n) {
  std::fill_n(inverse, n, T(0));
  for (int64_t r = 0; r < length; ++r)
    for (int64_t i = 0; i < n; ++i) inverse[i] += x[r * columns + i] * x[r * columns + i];
  for (int64_t i = 0; i < n; ++i) inverse[i] = inverse_norm(std::sqrt(inverse[i]));
}
template <class T>
T inverse_norm_of_row(const T* x, int64_t length) {
  return inverse_norm(static_cast<T>(std::sqrt(sum_of<T>(length, [&](int64_t i) { return x[i] * x[i]; }))));
}

template <class T>
void prepare_cosine_columns(T* prepared, const T* x, int64_t length, int64_t columns) {
  T inverse[kBlock];
  for (int64_t begin = 0; begin < columns; begin += kBlock, x += kBlock, prepared += kBlock) {
    const int64_t n = std::min(kBlock, columns - begin);
    inverse_norms(inverse, x, length, columns, n);
    for (int64_t r = 0; r < length; ++r)
      for (int64_t i = 0; i < n; ++i) prepared[r * columns + i] = x[r * columns + i] * inverse[i];
  }
}

template <class T>
void prepare_cosine_rows(T* prepared, const T* x, int64_t rows, int64_t length) {
  for (int64_t r = 0; r < rows; ++r, x += length, prepared += length) {
    const T inverse = inverse_norm_of_row(x, length);
    for (int64_t i = 0; i < length; ++i) prepared[i] = x[i] * inverse;
  }
}

// d cos / dv = (unit - cos * v / |v|) / |v|
template <class T>
double cosine_columns(T* gradient, const T* v, const T* unit, T weight, int64_t length, int64_t columns, bool accumulate) {
  T inverse[kBlock], cos[kBlock];
  const T scale = -weight / static_cast<T>(columns);
  double total = 0;
  for (int64_t begin = 0; begin < columns; begin += kBlock, v += kBlock, unit += kBlock) {
    const int64_t n = std::min(kBlock, columns - begin);
    inverse_norms(inverse, v, length, columns, n);
    std::fill_n(cos, n, T(0));
    for (int64_t r = 0; r < length; ++r)
      for (int64_t i = 0; i < n; ++i) cos[i] += unit[r * columns + i] * v[r * columns + i];
    for (int64_t i = 0; i < n; ++i) cos[i] *= inverse[i];
    total += sum_of<T>(n, [&](int64_t i) { return cos[i]; });
    for (int64_t i = 0; i < n; ++i) cos[i] *= inverse[i];
    for (int64_t r = 0; gradient && r < length; ++r) {
      const int64_t row = r * columns;
      emit(gradient + begin + row, n, accumulate, [&](int64_t i) { return scale * inverse[i] * (unit[row + i] - cos[i] * v[row + i]); });
    }
  }
  return total;
}

template <class T>
double cosine_rows(T* gradient, const T* v, const T* unit, T weight, int64_t rows, int64_t length, bool accumulate) {
  double total = 0;
  for (int64_t r = 0; r < rows; ++r, v += length, unit += length) {
    const T inverse = inverse_norm_of_row(v, length);
    const T cos = static_cast<T>(sum_of<T>(length, [&](int64_t i) { return unit[i] * v[i]; })) * inverse;
    total += static_cast<double>(cos);
    if (!gradient) continue;
    const T scale = -weight / static_cast<T>(rows) * inverse, along = cos * inverse;
    emit(gradient + r * length, length, accumulate, [&](int64_t i) { return scale * (unit[i] - along * v[i]); });
  }
  return total;
}

template <class T>
double mse(T* gradient, const T* v, const T* a, double power, T weight, int64_t count, bool accumulate) {
  const double sum = sum_of<T>(count, [&](int64_t i) { return (v[i] - a[i]) * (v[i] - a[i]); });
  const double denominator = power * static_cast<double>(count);
  if (gradient) {
    const T scale = static_cast<T>(2 * static_cast<double>(weight) / denominator);
    emit(gradient, count, accumulate, [&](int64_t i) { return scale * (v[i] - a[i]); });
  }
  return sum / denominator;
}

// Of a row or column: first + shift is its mean, kept apart so that a constant one is exactly zero after centring.
template <class T>
struct Standard {
  T first, shift, inverse;
  double sigma;
  T operator()(T x) const { return ((x - first) - shift) * inverse; }
};
template <class T>
Standard<T> standard_of(T first, T shift, double squares, int64_t length) {
  const double sigma = std::sqrt(squares / static_cast<double>(length));
  return {first, shift, static_cast<T>(1 / (sigma + kSigmaGuard)), sigma};
}

template <class T>
Standard<T> standard_of_row(const T* x, int64_t length) {
  const T first = x[0];
  const T shift = static_cast<T>(sum_of<T>(length, [&](int64_t i) { return x[i] - first; }) / static_cast<double>(length));
  const double squares = sum_of<T>(length, [&](int64_t i) {
    const T u = (x[i] - first) - shift;
    return u * u;
  });
  return standard_of(first, shift, squares, length);
}

template <class T>
void standards_of_columns(Standard<T>* out, const T* x, int64_t length, int64_t columns, int64_t n) {
  double sum[kBlock] = {}, squares[kBlock] = {};
  for (int64_t r = 0; r < length; ++r)
    for (int64_t i = 0; i < n; ++i) sum[i] += static_cast<double>(x[r * columns + i] - x[i]);
  T shift[kBlock];
  for (int64_t i = 0; i < n; ++i) shift[i] = static_cast<T>(sum[i] / static_cast<double>(length));
  for (int64_t r = 0; r < length; ++r) {
    for (int64_t i = 0; i < n; ++i) {
      const T u = (x[r * columns + i] - x[i]) - shift[i];
      squares[i] += static_cast<double>(u * u);
    }
  }
  for (int64_t i = 0; i < n; ++i) out[i] = standard_of(x[i], shift[i], squares[i], length);
}

template <class T>
void prepare_standardised_rows(T* prepared, const T* x, int64_t rows, int64_t length) {
  for (int64_t r = 0; r < rows; ++r, x += length, prepared += length) {
    const Standard<T> y = standard_of_row(x, length);
    for (int64_t i = 0; i < length; ++i) prepared[i] = y(x[i]);
  }
}

template <class T>
void prepare_standardised_columns(T* prepared, const T* x, int64_t length, int64_t columns) {
  Standard<T> y[kBlock];
  for (int64_t begin = 0; begin < columns; begin += kBlock, x += kBlock, prepared += kBlock) {
    const int64_t n = std::min(kBlock, columns - begin);
    standards_of_columns(y, x, length, columns, n);
    for (int64_t r = 0; r < length; ++r)
      for (int64_t i = 0; i < n; ++i) prepared[r * columns + i] = y[i](x[r * columns + i]);
  }
}

// With d = y - target, whose mean over a row is zero:
//   gradient = scale * (d / (sigma + guard) - y * (sum d y) / (length sigma)), the second part from sigma's own gradient.
template <class T>
T pull_of(double cross, double sigma, int64_t length) {
  return sigma > 0 ? static_cast<T>(cross / (static_cast<double>(length) * sigma)) : T(0);
}

template <class T>
double standardised_rows(T* gradient, const T* v, const T* target, T weight, int64_t rows, int64_t length, bool accumulate) {
  const T scale = static_cast<T>(2 * static_cast<double>(weight) / (static_cast<double>(rows) * static_cast<double>(length)));
  double total = 0;
  for (int64_t r = 0; r < rows; ++r, v += length, target += length) {
    const Standard<T> y = standard_of_row(v, length);
    total += sum_of<T>(length, [&](int64_t i) { return (y(v[i]) - target[i]) * (y(v[i]) - target[i]); });
    if (!gradient) continue;
    const T pull = pull_of<T>(sum_of<T>(length, [&](int64_t i) { return (y(v[i]) - target[i]) * y(v[i]); }), y.sigma, length);
    emit(gradient + r * length, length, accumulate,
         [&](int64_t i) { return scale * ((y(v[i]) - target[i]) * y.inverse - y(v[i]) * pull); });
  }
  return total;
}

template <class T>
double standardised_columns(T* gradient, const T* v, const T* target, T weight, int64_t length, int64_t columns, bool accumulate) {
  const T scale = static_cast<T>(2 * static_cast<double>(weight) / (static_cast<double>(length) * static_cast<double>(columns)));
  Standard<T> y[kBlock];
  double total = 0;
  for (int64_t begin = 0; begin < columns; begin += kBlock, v += kBlock, target += kBlock) {
    const int64_t n = std::min(kBlock, columns - begin);
    standards_of_columns(y, v, length, columns, n);
    double cross[kBlock] = {};
    for (int64_t r = 0; r < length; ++r) {
      for (int64_t i = 0; i < n; ++i) {
        const T at = y[i](v[r * columns + i]), d = at - target[r * columns + i];
        total += static_cast<double>(d * d);
        cross[i] += static_cast<double>(d * at);
      }
    }
    T pull[kBlock];
    for (int64_t i = 0; i < n; ++i) pull[i] = pull_of<T>(cross[i], y[i].sigma, length);
    for (int64_t r = 0; gradient && r < length; ++r) {
      const int64_t row = r * columns;
      emit(gradient + begin + row, n, accumulate, [&](int64_t i) {
        const T at = y[i](v[row + i]);
        return scale * ((at - target[row + i]) * y[i].inverse - at * pull[i]);
      });
    }
  }
  return total;
}

}  // namespace

template <class T>
void tap_prepare_ref(T* prepared, T* constant, const T* reference, TapDistance kind, ChannelOrder order, int64_t B, int64_t C, int64_t HW) {
  const int64_t size = C * HW;
  const bool first = order == ChannelOrder::kFirst;
  const auto channels = static_cast<double>(C), positions = static_cast<double>(HW);
  for (int64_t b = 0; b < B; ++b, prepared += size, reference += size) {
    double result = 0;
    switch (kind) {
      case TapDistance::kKlChannels:
        result = (first ? prepare_kl_columns(prepared, reference, C, HW) : prepare_kl_rows(prepared, reference, HW, C)) / positions;
        break;
      case TapDistance::kKlPositions:
        result = (first ? prepare_kl_rows(prepared, reference, C, HW) : prepare_kl_columns(prepared, reference, HW, C)) / channels;
        break;
      case TapDistance::kCosine:
        first ? prepare_cosine_columns(prepared, reference, C, HW) : prepare_cosine_rows(prepared, reference, HW, C);
        break;
      case TapDistance::kMse:
        result = sum_of<T>(size, [&](int64_t i) { return reference[i] * reference[i]; }) / static_cast<double>(size);
        result = std::max(result, kMsePowerFloor);
        if (prepared != reference) std::copy_n(reference, size, prepared);
        break;
      case TapDistance::kStandardisedMse:
        first ? prepare_standardised_rows(prepared, reference, C, HW) : prepare_standardised_columns(prepared, reference, HW, C);
        break;
    }
    constant[b] = static_cast<T>(result);
  }
}

template <class T>
void tap_distance_ref(T* value, T* gradient, const T* current, const T* prepared, const T* constant, const T* weight, TapDistance kind,
                      ChannelOrder order, int64_t B, int64_t P, int64_t C, int64_t HW, bool accumulate) {
  const int64_t size = C * HW;
  const bool first = order == ChannelOrder::kFirst;
  const auto channels = static_cast<double>(C), positions = static_cast<double>(HW);
  for (int64_t n = 0; n < P * B; ++n) {
    const T* v = current + n * size;
    const T* saved = prepared + (n % B) * size;
    const auto known = static_cast<double>(constant[n % B]);
    T* g = gradient ? gradient + n * size : nullptr;
    double result = 0;
    switch (kind) {
      case TapDistance::kKlChannels:
        result =
            known + (first ? kl_columns(g, v, saved, weight[n], C, HW, accumulate) : kl_rows(g, v, saved, weight[n], HW, C, accumulate)) /
                        positions;
        break;
      case TapDistance::kKlPositions:
        result =
            known +
            (first ? kl_rows(g, v, saved, weight[n], C, HW, accumulate) : kl_columns(g, v, saved, weight[n], HW, C, accumulate)) / channels;
        break;
      case TapDistance::kCosine:
        result = 1 - (first ? cosine_columns(g, v, saved, weight[n], C, HW, accumulate)
                            : cosine_rows(g, v, saved, weight[n], HW, C, accumulate)) /
                         positions;
        break;
      case TapDistance::kMse: result = mse(g, v, saved, known, weight[n], size, accumulate); break;
      case TapDistance::kStandardisedMse:
        result = (first ? standardised_rows(g, v, saved, weight[n], C, HW, accumulate)
                        : standardised_columns(g, v, saved, weight[n], HW, C, accumulate)) /
                 (channels * positions);
        break;
    }
    value[n] = static_cast<T>(result);
  }
}

#define ACTMATCH_INSTANTIATE(T)                                                                                                           \
  template void tap_prepare_ref<T>(T*, T*, const T*, TapDistance, ChannelOrder, int64_t, int64_t, int64_t);                               \
  template void tap_distance_ref<T>(T*, T*, const T*, const T*, const T*, const T*, TapDistance, ChannelOrder, int64_t, int64_t, int64_t, \
                                    int64_t, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
