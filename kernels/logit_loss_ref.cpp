#include "kernels/logit_loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/vector_math.h"

namespace actmatch::kernels {
namespace {

// softmax(scale * z)[j] = exp(scale * (z[j] - hi)) / sum
template <class T>
struct Softmax {
  Softmax(const T* row, int64_t K, T factor = 1) : z(row), scale(factor), hi(max_of(row, K)) {
    sum = sum_of<T>(K, [&](int64_t j) { return exp_vec((z[j] - hi) * scale); });
    log_sum = std::log(sum);
    inverse = static_cast<T>(1 / sum);
  }
  T operator[](int64_t j) const { return exp_vec((z[j] - hi) * scale) * inverse; }
  double log_p(int64_t j) const { return static_cast<double>((z[j] - hi) * scale) - log_sum; }

  const T* z;
  T scale, hi, inverse;
  double sum, log_sum;
};

// gradient[j] = (or +=) weight * term(j).
template <class T, class Term>
void emit_gradient(T* gradient, int64_t K, T weight, bool accumulate, Term term) {
  if (accumulate) {
    for (int64_t j = 0; j < K; ++j) gradient[j] += weight * term(j);
  } else {
    for (int64_t j = 0; j < K; ++j) gradient[j] = weight * term(j);
  }
}

// Index of the largest of z[j], j != skip; the first of equals. -1 when there is none.
template <class T>
int64_t first_largest(const T* z, int64_t K, int64_t skip) {
  int64_t best = -1;
  for (int64_t j = 0; j < K; ++j) {
    if (j != skip && (best < 0 || z[j] > z[best])) best = j;
  }
  return best;
}

// Adds to at most two entries of the row; the rest is zero.
template <class T>
void emit_sparse(T* gradient, int64_t K, bool accumulate, int64_t i, T at_i, int64_t j, T at_j) {
  if (!accumulate) std::fill_n(gradient, K, T(0));
  if (i >= 0) gradient[i] += at_i;
  if (j >= 0) gradient[j] += at_j;
}

}  // namespace

template <class T>
void softmax_ref(T* p, const T* z, int64_t N, int64_t K) {
  for (int64_t n = 0; n < N; ++n, p += K, z += K) {
    const Softmax<T> q(z, K);
    for (int64_t j = 0; j < K; ++j) p[j] = q[j];
  }
}

template <class T>
void log_softmax_ref(T* log_p, const T* z, int64_t N, int64_t K) {
  for (int64_t n = 0; n < N; ++n, log_p += K, z += K) {
    const Softmax<T> q(z, K);
    for (int64_t j = 0; j < K; ++j) log_p[j] = static_cast<T>(q.log_p(j));
  }
}

template <class T>
void kl_logits_ref(T* value, T* gradient, const T* z, const T* target, const T* weight, T temperature, int64_t B, int64_t P, int64_t K,
                   bool accumulate) {
  const T scale = T(1) / temperature;
  for (int64_t n = 0; n < P * B; ++n) {
    const Softmax<T> p(target + (n % B) * K, K, scale), q(z + n * K, K, scale);
    double divergence = 0;
    for (int64_t j = 0; j < K; ++j) divergence += static_cast<double>(p[j]) * (p.log_p(j) - q.log_p(j));
    value[n] = static_cast<T>(divergence * static_cast<double>(temperature) * static_cast<double>(temperature));
    if (gradient) emit_gradient(gradient + n * K, K, weight[n] * temperature, accumulate, [&](int64_t j) { return q[j] - p[j]; });
  }
}

template <class T>
void cross_entropy_ref(T* value, T* gradient, const T* z, const int32_t* label, const T* weight, int64_t B, int64_t P, int64_t K,
                       bool accumulate) {
  for (int64_t n = 0; n < P * B; ++n) {
    const Softmax<T> q(z + n * K, K);
    const int64_t y = label[n % B];
    value[n] = static_cast<T>(-q.log_p(y));
    if (!gradient) continue;
    T* g = gradient + n * K;
    emit_gradient(g, K, weight[n], accumulate, [&](int64_t j) { return q[j]; });
    g[y] -= weight[n];
  }
}

template <class T>
void margin_hinge_ref(T* value, T* gradient, const T* z, const int32_t* label, const T* weight, T margin, int64_t B, int64_t P, int64_t K,
                      bool accumulate) {
  for (int64_t n = 0; n < P * B; ++n) {
    const T* row = z + n * K;
    const int64_t y = label[n % B], rival = first_largest(row, K, y);
    const T gap = rival < 0 ? T(0) : margin - (row[y] - row[rival]);
    const bool inactive = gap <= 0;  // false for NaN, which is passed on
    value[n] = inactive ? T(0) : gap;
    if (!gradient) continue;
    emit_sparse(gradient + n * K, K, accumulate, inactive ? -1 : y, -weight[n], inactive ? -1 : rival, weight[n]);
  }
}

template <class T>
void necessity_hinge_ref(T* value, T* gradient, const T* z, const T* target, const int32_t* label, const T* weight, T margin, int64_t B,
                         int64_t P, int64_t K, bool accumulate) {
  for (int64_t n = 0; n < P * B; ++n) {
    const int64_t y = label[n % B];
    const T gap = margin - (target[(n % B) * K + y] - z[n * K + y]);
    const bool inactive = gap <= 0;
    value[n] = inactive ? T(0) : gap;
    if (gradient) emit_sparse(gradient + n * K, K, accumulate, inactive ? -1 : y, weight[n], -1, T(0));
  }
}

template <class T>
void necessity_log_ref(T* value, T* gradient, const T* z, const int32_t* label, const T* weight, int64_t B, int64_t P, int64_t K,
                       bool accumulate) {
  for (int64_t n = 0; n < P * B; ++n) {
    const T* row = z + n * K;
    const int64_t y = label[n % B], rival = first_largest(row, K, y);
    if (rival < 0) {
      value[n] = T(0);
      if (gradient) emit_sparse(gradient + n * K, K, accumulate, -1, T(0), -1, T(0));
      continue;
    }
    const Softmax<T> q(row, K);
    // Softmax over the other classes, with its own largest logit: it stays exact where q[y] rounds to 1.
    const T hi = row[rival];
    const double others = sum_of<T>(K, [&](int64_t j) { return j == y ? T(0) : exp_vec(row[j] - hi); });
    value[n] = static_cast<T>(static_cast<double>(q.hi - hi) + q.log_sum - std::log(others));
    if (!gradient) continue;
    const T inverse = static_cast<T>(1 / others), p_y = q[y];
    // d/dz[y] = p_y, d/dz[j] = p_j - p_j / (1 - p_y) = -p_y * softmax over the others [j]
    T* g = gradient + n * K;
    const T before = accumulate ? g[y] : T(0);
    emit_gradient(g, K, weight[n], accumulate, [&](int64_t j) { return -p_y * exp_vec(row[j] - hi) * inverse; });
    g[y] = before + weight[n] * p_y;
  }
}

template <class T>
void class_scores_ref(int32_t* top, T* p_label, const T* z, const int32_t* label, int64_t B, int64_t P, int64_t K) {
  for (int64_t n = 0; n < P * B; ++n) {
    const T* row = z + n * K;
    if (top) {
      const bool defined = std::none_of(row, row + K, [](T v) { return v != v; });
      top[n] = defined ? static_cast<int32_t>(first_largest(row, K, -1)) : -1;
    }
    if (p_label) p_label[n] = Softmax<T>(row, K)[label[n % B]];
  }
}

#define ACTMATCH_INSTANTIATE(T)                                                                                                   \
  template void softmax_ref<T>(T*, const T*, int64_t, int64_t);                                                                   \
  template void log_softmax_ref<T>(T*, const T*, int64_t, int64_t);                                                               \
  template void kl_logits_ref<T>(T*, T*, const T*, const T*, const T*, T, int64_t, int64_t, int64_t, bool);                       \
  template void cross_entropy_ref<T>(T*, T*, const T*, const int32_t*, const T*, int64_t, int64_t, int64_t, bool);                \
  template void margin_hinge_ref<T>(T*, T*, const T*, const int32_t*, const T*, T, int64_t, int64_t, int64_t, bool);              \
  template void necessity_hinge_ref<T>(T*, T*, const T*, const T*, const int32_t*, const T*, T, int64_t, int64_t, int64_t, bool); \
  template void necessity_log_ref<T>(T*, T*, const T*, const int32_t*, const T*, int64_t, int64_t, int64_t, bool);                \
  template void class_scores_ref<T>(int32_t*, T*, const T*, const int32_t*, int64_t, int64_t, int64_t);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
