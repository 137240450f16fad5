#include "engine/backend/cpu/ops/thin_product.h"

#include <algorithm>
#include <cstring>

#include "engine/backend/cpu/loops.h"

// Up to eight rows of A share a pass over B. Where B is turned, rows of A meet rows of B in vectors of partial sums, a few rows of B at a
// time; where it is not, rows of B times numbers of A are added to C, several of them and a stretch of columns at a time, so that C stays
// in the caches. Both read B in the order it lies in.

namespace actmatch::cpu {

namespace {

constexpr int64_t kStretch = 2048;  // columns of C
constexpr int kDepth = 8;           // rows of B that are added to C at once

using Vector8 = float __attribute__((vector_size(32)));
using Vector16 = float __attribute__((vector_size(64)));

template <class Vector>
ACTMATCH_INLINE void load(Vector& v, const float* from) {
  std::memcpy(&v, from, sizeof(v));
}

// The first `count` elements, zeros behind them.
template <class Vector>
ACTMATCH_INLINE void load(Vector& v, const float* from, int64_t count) {
  v = Vector{};
  std::memcpy(&v, from, static_cast<size_t>(count) * sizeof(float));
}

template <class Vector>
ACTMATCH_INLINE float total(const Vector& v) {
  float parts[sizeof(Vector) / sizeof(float)];
  std::memcpy(parts, &v, sizeof(v));
  for (size_t half = sizeof(Vector) / sizeof(float) / 2; half > 0; half /= 2)
    for (size_t i = 0; i < half; ++i) parts[i] += parts[i + half];
  return parts[0];
}

// C[row .. row + rows)[n .. n + columns), B turned.
template <class Vector, int rows, int columns>
ACTMATCH_INLINE void dots(const ThinProduct& p, int64_t row, int64_t n) {
  constexpr int64_t kLanes = sizeof(Vector) / sizeof(float);
  const float *a = p.a + row * p.K, *b = p.b + n * p.K;
  Vector sums[rows][columns];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < columns; ++j) sums[r][j] = Vector{};
  const auto add = [&](const Vector(&x)[rows], const Vector(&w)[columns]) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < columns; ++j) sums[r][j] += x[r] * w[j];
  };
  Vector x[rows], w[columns];
  int64_t k = 0;
  for (; k + kLanes <= p.K; k += kLanes) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) load(x[r], a + r * p.K + k);
#pragma GCC unroll 4
    for (int j = 0; j < columns; ++j) load(w[j], b + j * p.K + k);
    add(x, w);
  }
  if (k < p.K) {
    for (int r = 0; r < rows; ++r) load(x[r], a + r * p.K + k, p.K - k);
    for (int j = 0; j < columns; ++j) load(w[j], b + j * p.K + k, p.K - k);
    add(x, w);
  }
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < columns; ++j) {
      float& c = p.c[(row + r) * p.N + n + j];
      c = (p.accumulate ? c : 0.0f) + total(sums[r][j]);
    }
}

template <class Vector, int rows>
ACTMATCH_INLINE void dots_of_rows(const ThinProduct& p, int64_t row, int64_t begin, int64_t end) {
  constexpr int kColumns = rows > 4 ? 2 : 4;
  int64_t n = begin;
  for (; n + kColumns <= end; n += kColumns) dots<Vector, rows, kColumns>(p, row, n);
  for (; n < end; ++n) dots<Vector, rows, 1>(p, row, n);
}

// Adds `depth` rows of B, from k on, to `count` columns of C[row .. row + rows) from n on: a vector, or (not `whole`) a part of one.
template <class Vector, int rows, int depth, bool whole>
ACTMATCH_INLINE void add_vector(const ThinProduct& p, int64_t row, int64_t k, int64_t n, int64_t count) {
  const bool fresh = k == 0 && !p.accumulate;
  const auto read = [&](Vector & v, const float* from) __attribute__((always_inline)) {
    if constexpr (whole)
      load(v, from);
    else
      load(v, from, count);
  };
  Vector sums[rows];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    sums[r] = Vector{};
    if (!fresh) read(sums[r], p.c + (row + r) * p.N + n);
  }
#pragma GCC unroll 8
  for (int d = 0; d < depth; ++d) {
    Vector w;
    read(w, p.b + (k + d) * p.N + n);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) sums[r] += p.a[(row + r) * p.K + k + d] * w;
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    float* c = p.c + (row + r) * p.N + n;
    if constexpr (whole)
      std::memcpy(c, &sums[r], sizeof(Vector));
    else
      std::memcpy(c, &sums[r], static_cast<size_t>(count) * sizeof(float));
  }
}

template <class Vector, int rows, int depth>
ACTMATCH_INLINE void add_rows(const ThinProduct& p, int64_t row, int64_t k, int64_t begin, int64_t end) {
  constexpr int64_t kLanes = sizeof(Vector) / sizeof(float);
  int64_t n = begin;
  for (; n + kLanes <= end; n += kLanes) add_vector<Vector, rows, depth, true>(p, row, k, n, kLanes);
  if (n < end) add_vector<Vector, rows, depth, false>(p, row, k, n, end - n);
}

template <class Vector, int rows>
ACTMATCH_INLINE void sums_of_rows(const ThinProduct& p, int64_t row, int64_t begin, int64_t end) {
  for (int64_t n = begin; n < end; n += kStretch) {
    const int64_t stop = std::min(end, n + kStretch);
    int64_t k = 0;
    for (; k + kDepth <= p.K; k += kDepth) add_rows<Vector, rows, kDepth>(p, row, k, n, stop);
    for (; k < p.K; ++k) add_rows<Vector, rows, 1>(p, row, k, n, stop);
  }
}

template <class Vector, int rows>
ACTMATCH_INLINE void of_rows(const ThinProduct& p, int64_t row, int64_t begin, int64_t end) {
  if (p.turned)
    dots_of_rows<Vector, rows>(p, row, begin, end);
  else
    sums_of_rows<Vector, rows>(p, row, begin, end);
}

template <class Vector>
ACTMATCH_INLINE void of_columns(const ThinProduct& p, int64_t begin, int64_t end) {
  int64_t row = 0;
  for (; row + 8 <= p.M; row += 8) of_rows<Vector, 8>(p, row, begin, end);
  if (row + 4 <= p.M) of_rows<Vector, 4>(p, row, begin, end), row += 4;
  if (row + 2 <= p.M) of_rows<Vector, 2>(p, row, begin, end), row += 2;
  if (row < p.M) of_rows<Vector, 1>(p, row, begin, end);
}

using Columns = void (*)(const ThinProduct&, int64_t begin, int64_t end);

void columns_anywhere(const ThinProduct& p, int64_t begin, int64_t end) { of_columns<Vector8>(p, begin, end); }

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2,fma"))) void columns_avx2(const ThinProduct& p, int64_t begin, int64_t end) {
  of_columns<Vector8>(p, begin, end);
}
__attribute__((target("avx512f,avx2,fma"))) void columns_avx512(const ThinProduct& p, int64_t begin, int64_t end) {
  of_columns<Vector16>(p, begin, end);
}

Columns choose() {
  if (__builtin_cpu_supports("avx512f")) return columns_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return columns_avx2;
  return columns_anywhere;
}
#else
Columns choose() { return columns_anywhere; }
#endif

}  // namespace

void run(const ThinProduct& p) {
  static const Columns columns = choose();
  if (p.K == 0) {
    if (!p.accumulate) std::fill_n(p.c, p.M * p.N, 0.0f);
    return;
  }
  const int64_t grain = std::max<int64_t>(16, kGrain / std::max<int64_t>(p.K, 1));
  parallel_ranges(p.N, grain, [&](int64_t begin, int64_t end) { columns(p, begin, end); });
}

}  // namespace actmatch::cpu
