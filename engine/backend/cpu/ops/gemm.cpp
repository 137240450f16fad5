#include "engine/backend/cpu/ops/gemm.h"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "engine/backend/cpu/loops.h"

// B lies in slices of kDepth rows, those in panels of as many columns as two vectors hold, a panel row by row: as the inner loop reads it.
// That loop keeps some rows of A times one panel in registers: 12 rows and 32 columns with AVX-512, 6 and 16 with 256 bits. Rows of A are
// copied first, a fixed distance apart, so that neither caches nor address arithmetic suffer from theirs; a block of them stays in the
// second-level cache while the panels go by.

namespace actmatch::cpu {

namespace {

constexpr int64_t kDepth = 256;             // of a slice
constexpr int64_t kDistance = kDepth + 16;  // between copied rows: not a multiple of what caches are addressed by
constexpr int64_t kBlockRows = 144;

using Vector8 = float __attribute__((vector_size(32)));
using Vector16 = float __attribute__((vector_size(64)));

// What one call of the inner loop does: `rows` copied rows times a panel; what comes out is added to C, or to the bias.
struct Tile {
  const float *a, *panel, *bias;  // bias: null where C is added to
  float* c;
  int64_t c_row, depth, columns;
  bool fresh;  // C holds nothing yet
};

template <class Vector, int rows, int vectors>
ACTMATCH_INLINE void multiply(const Tile& t) {
  constexpr int64_t kLanes = sizeof(Vector) / sizeof(float), kPanel = 2 * kLanes;
  Vector sums[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sums[r][v] = Vector{};
  const float* panel = t.panel;
  for (int64_t k = 0; k < t.depth; ++k, panel += kPanel) {
    Vector b[vectors];
    std::memcpy(b, panel, sizeof(b));
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const float a = t.a[r * kDistance + k];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sums[r][v] += a * b[v];
    }
  }
  const bool whole = t.columns == vectors * kLanes;
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
    float* c = t.c + r * t.c_row;
    if (whole) {
      Vector old[vectors] = {};
      if (!t.fresh)
        std::memcpy(old, c, sizeof(old));
      else if (t.bias)
        std::memcpy(old, t.bias, sizeof(old));
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) old[v] += sums[r][v];
      std::memcpy(c, old, sizeof(old));
    } else {
      float part[vectors * kLanes];
      std::memcpy(part, sums[r], sizeof(part));
      for (int64_t i = 0; i < t.columns; ++i) c[i] = (!t.fresh ? c[i] : t.bias ? t.bias[i] : 0.0f) + part[i];
    }
  }
}

template <class Vector, int vectors>
ACTMATCH_INLINE void multiply_rows(const Tile& t, int64_t rows) {
  switch (rows) {
    case 1: return multiply<Vector, 1, vectors>(t);
    case 2: return multiply<Vector, 2, vectors>(t);
    case 3: return multiply<Vector, 3, vectors>(t);
    case 4: return multiply<Vector, 4, vectors>(t);
    case 5: return multiply<Vector, 5, vectors>(t);
    case 6: return multiply<Vector, 6, vectors>(t);
    default: break;
  }
  if constexpr (sizeof(Vector) == 64) switch (rows) {
      case 7: return multiply<Vector, 7, vectors>(t);
      case 8: return multiply<Vector, 8, vectors>(t);
      case 9: return multiply<Vector, 9, vectors>(t);
      case 10: return multiply<Vector, 10, vectors>(t);
      case 11: return multiply<Vector, 11, vectors>(t);
      default: return multiply<Vector, 12, vectors>(t);
    }
}

template <class Vector>
ACTMATCH_INLINE void multiply_panel(const Tile& t, int64_t rows) {
  constexpr int64_t kLanes = sizeof(Vector) / sizeof(float);
  if (t.columns > kLanes)
    multiply_rows<Vector, 2>(t, rows);
  else
    multiply_rows<Vector, 1>(t, rows);
}

void multiply_anywhere(const Tile& t, int64_t rows) { multiply_panel<Vector8>(t, rows); }

struct Kind {
  int64_t rows, panel;
  void (*multiply)(const Tile&, int64_t);
};

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2,fma"))) void multiply_avx2(const Tile& t, int64_t rows) { multiply_panel<Vector8>(t, rows); }
__attribute__((target("avx512f,avx2,fma"))) void multiply_avx512(const Tile& t, int64_t rows) { multiply_panel<Vector16>(t, rows); }

Kind choose() {
  if (__builtin_cpu_supports("avx512f")) return {12, 32, multiply_avx512};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {6, 16, multiply_avx2};
  return {6, 16, multiply_anywhere};
}
#else
Kind choose() { return {6, 16, multiply_anywhere}; }
#endif

const Kind& kind() {
  static const Kind chosen = choose();
  return chosen;
}

int64_t in_parts(int64_t n, int64_t part) { return (n + part - 1) / part; }

}  // namespace

size_t Gemm::packed_floats(int64_t K, int64_t N) { return static_cast<size_t>(K * in_parts(N, kind().panel) * kind().panel); }

void Gemm::pack(float* packed, const float* b, int64_t K, int64_t N, bool turned) {
  const int64_t panel = kind().panel, panels = in_parts(N, panel);
  const int64_t k_step = turned ? 1 : N, n_step = turned ? K : 1;
  parallel_ranges(panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k0 = 0; k0 < K; k0 += kDepth) {
      const int64_t depth = std::min(kDepth, K - k0);
      for (int64_t p = begin; p < end; ++p) {
        float* to = packed + k0 * panels * panel + p * depth * panel;
        for (int64_t k = 0; k < depth; ++k)
          for (int64_t i = 0; i < panel; ++i) {
            const int64_t n = p * panel + i;
            to[k * panel + i] = n < N ? b[(k0 + k) * k_step + n * n_step] : 0.0f;
          }
      }
    }
  });
}

Gemm::Gemm(int64_t M, int64_t N, int64_t K) : M_(M), N_(N), K_(K), workers_(std::max(1, omp_get_max_threads())) {}

size_t Gemm::scratch_bytes() const { return static_cast<size_t>(workers_ * kBlockRows * kDistance) * sizeof(float); }

void Gemm::run(const GemmArguments& g) const {
  const Kind& k = kind();
  const int64_t panels = in_parts(N_, k.panel);
  const int64_t blocks = in_parts(M_, kBlockRows), block_rows = in_parts(in_parts(M_, std::max<int64_t>(blocks, 1)), k.rows) * k.rows;
  if (K_ == 0) {
    for (int64_t m = 0; m < M_ && !g.accumulate; ++m)
      for (int64_t n = 0; n < N_; ++n) g.c[m * N_ + n] = g.bias ? g.bias[n] : 0.0f;
    return;
  }
  // Threads share the panels; each copies the rows of A for itself.
  const int parts =
      static_cast<int>(std::min<int64_t>({workers_, omp_get_max_threads(), panels, std::max<int64_t>(1, M_ * N_ * K_ >> 16)}));
#pragma omp parallel for schedule(static) num_threads(parts) if (parts > 1)
  for (int part = 0; part < parts; ++part) {
    float* rows = reinterpret_cast<float*>(g.scratch) + part * kBlockRows * kDistance;
    const int64_t first = panels * part / parts, last = panels * (part + 1) / parts;
    for (int64_t m0 = 0; m0 < M_; m0 += block_rows) {
      const int64_t block = std::min(block_rows, M_ - m0);
      for (int64_t k0 = 0; k0 < K_; k0 += kDepth) {
        const int64_t depth = std::min(kDepth, K_ - k0);
        for (int64_t m = 0; m < block; ++m)
          std::memcpy(rows + m * kDistance, g.a + (m0 + m) * K_ + k0, static_cast<size_t>(depth) * sizeof(float));
        for (int64_t p = first; p < last; ++p)
          for (int64_t m = 0; m < block; m += k.rows) {
            Tile t;
            t.a = rows + m * kDistance;
            t.panel = g.b + k0 * panels * k.panel + p * depth * k.panel;
            t.bias = g.bias ? g.bias + p * k.panel : nullptr;
            t.c = g.c + (m0 + m) * N_ + p * k.panel;
            t.c_row = N_;
            t.depth = depth;
            t.columns = std::min(k.panel, N_ - p * k.panel);
            t.fresh = k0 == 0 && !g.accumulate;
            k.multiply(t, std::min(k.rows, block - m));
          }
      }
    }
  }
}

}  // namespace actmatch::cpu
