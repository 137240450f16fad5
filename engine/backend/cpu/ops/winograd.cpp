#include "engine/backend/cpu/ops/winograd.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/backend/cpu/loops.h"

// With d a 6x6 piece of the input, g a kernel and y the 4x4 piece of the output: y = A' [(G g G') . (B' d B)] A. The product in brackets,
// one for each of 36 points, summed over the channels, is a matrix product (tiles x channels times channels x filters): there the time
// goes. A', G and B' follow from evaluating polynomials at 0, a, -a, b, -b and infinity. Not the usual 1 and 2, but 5/8 and 3/2 (as oneDNN
// has it for AVX-512): the entries stay near 1, and the squared error is 2.5 times smaller (64 to 512 channels). It is about as large as
// that of a direct sum of ten times the length.
//
// Tiles are taken in blocks whose transforms stay in the second-level cache; filters in groups, so that their products do too.

#if defined(__x86_64__) && defined(__GNUC__)
#define ACTMATCH_WINOGRAD 1
#include <immintrin.h>
#define ACTMATCH_AVX2 __attribute__((target("avx2,fma")))
#define ACTMATCH_AVX2_INLINE __attribute__((target("avx2,fma"), always_inline)) inline
#endif

namespace actmatch::cpu {

namespace {

constexpr int64_t kOut = 4, kIn = 6, kPoints = kIn * kIn;
constexpr int64_t kLanes = 8, kPanel = 2 * kLanes;  // filters of one call of the inner loop
constexpr int64_t kGroup = 32;                      // filters of one group
constexpr int64_t kPad = 16;                        // floats; keeps the points from falling on the same cache sets
constexpr int64_t kAhead = 64;                      // channels by which weights are fetched ahead: 4 KiB
constexpr double kA = 0.625, kB = 1.5;
constexpr double kA2 = kA * kA, kB2 = kB * kB;

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
int64_t panels_in(int64_t K) { return round_up(K, kPanel) / kPanel; }

}  // namespace

size_t Winograd::weight_floats(int64_t C, int64_t K) { return static_cast<size_t>(kPoints * C * round_up(K, kPanel)); }

// Order: group, point, panel of 16 filters, channel, filter: as they are read.
void Winograd::transform_weights(float* u, const float* w, int64_t C, int64_t K, bool turned) {
  const double n0 = kA2 * kB2, na = 2 * kA2 * (kA2 - kB2), nb = 2 * kB2 * (kB2 - kA2);
  const double g[kIn][3] = {
      {1 / n0, 0, 0}, {1 / na, kA / na, kA2 / na}, {1 / na, -kA / na, kA2 / na}, {1 / nb, kB / nb, kB2 / nb}, {1 / nb, -kB / nb, kB2 / nb},
      {0, 0, 1}};
  std::fill_n(u, weight_floats(C, K), 0.0f);
  parallel_ranges(K, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t group = k / kGroup, panels = panels_in(std::min(kGroup, K - group * kGroup)), panel = k % kGroup / kPanel;
      for (int64_t c = 0; c < C; ++c) {
        const float* kernel = w + (turned ? c * K + k : k * C + c) * 9;
        double half[kIn][3];
        for (int64_t i = 0; i < kIn; ++i)
          for (int64_t j = 0; j < 3; ++j) {
            half[i][j] = 0;
            for (int64_t l = 0; l < 3; ++l) half[i][j] += g[i][l] * double{turned ? kernel[(2 - l) * 3 + 2 - j] : kernel[l * 3 + j]};
          }
        for (int64_t i = 0; i < kIn; ++i)
          for (int64_t j = 0; j < kIn; ++j) {
            const double value = half[i][0] * g[j][0] + half[i][1] * g[j][1] + half[i][2] * g[j][2];
            u[group * kGroup * kPoints * C + (((i * kIn + j) * panels + panel) * C + c) * kPanel + k % kPanel] = static_cast<float>(value);
          }
      }
    }
  });
}

#ifdef ACTMATCH_WINOGRAD

bool Winograd::available() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

// Measured on Zen 3 in ResNet-18's step, one thread, two images, forward and backward together, against oneDNN's direct code: 2.5 times as
// fast with 64 channels of 56x56, 3 times with 128 of 28x28, twice with 256 of 14x14 (the border tiles reach beyond the image), 1.8 times
// with 512 of 7x7, where 36 MiB of weights come from memory each time. Fewer tiles than those eight share the weights too little. With
// AVX-512, where oneDNN's direct code has twice the lanes, the step still takes two thirds of the time (docs/measured/speed.md). With 16
// channels the transforms weigh more: SqueezeNet, two of whose layers have 16 inputs and 64 outputs of 55x55, takes 6 % less as a whole.
bool Winograd::pays(const WinogradShape& s) {
  constexpr int64_t kFewestChannels = 16, kFewestTiles = 8;
  const int64_t tiles = s.N * ((s.out_h + kOut - 1) / kOut) * ((s.out_w + kOut - 1) / kOut);
  return available() && s.C % kLanes == 0 && s.K % kLanes == 0 && s.C >= kFewestChannels && s.K >= kFewestChannels && tiles >= kFewestTiles;
}

Winograd::Winograd(const WinogradShape& shape) : s_(shape) {
  tiles_y_ = (s_.out_h + kOut - 1) / kOut;
  tiles_x_ = (s_.out_w + kOut - 1) / kOut;
  tiles_ = s_.N * tiles_y_ * tiles_x_;
  // Sizes between 8 and 100 tiles make no difference that could be measured; these keep V below about 400 KiB where they can.
  const int64_t most = std::clamp<int64_t>(96 * 1024 / (kPoints * s_.C), 8, 24);
  blocks_ = std::max<int64_t>(1, (tiles_ + most - 1) / most);
  block_tiles_ = (tiles_ + blocks_ - 1) / blocks_;
  groups_ = (s_.K + kGroup - 1) / kGroup;
  workers_ = std::max<int64_t>(1, omp_get_max_threads());
  v_point_ = block_tiles_ * s_.C + kPad;
  m_point_ = block_tiles_ * std::min(kGroup, round_up(s_.K, kPanel)) + kPad;
  v_floats_ = static_cast<size_t>(kPoints * v_point_);
  m_floats_ = static_cast<size_t>(kPoints * m_point_);
}

Winograd::Tile Winograd::tile(int64_t index) const {
  const int64_t in_image = index % (tiles_y_ * tiles_x_);
  return {index / (tiles_y_ * tiles_x_), in_image / tiles_x_ * kOut, in_image % tiles_x_ * kOut};
}

int64_t Winograd::tiles_in(int64_t block) const { return std::min(block_tiles_, tiles_ - block * block_tiles_); }

namespace {

using Vector = __m256;

ACTMATCH_AVX2_INLINE Vector all(double value) { return _mm256_set1_ps(static_cast<float>(value)); }

// out = B' d
ACTMATCH_AVX2_INLINE void transform_input(Vector* out, const Vector* d) {
  const Vector d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3], d4 = d[4], d5 = d[5];  // out may be d
  const Vector even_a = _mm256_fnmadd_ps(all(kB2), d2, d4), odd_a = _mm256_fnmadd_ps(all(kB2), d1, d3);
  const Vector even_b = _mm256_fnmadd_ps(all(kA2), d2, d4), odd_b = _mm256_fnmadd_ps(all(kA2), d1, d3);
  out[0] = _mm256_fmadd_ps(all(kA2 * kB2), d0, _mm256_fnmadd_ps(all(kA2 + kB2), d2, d4));
  out[1] = _mm256_fmadd_ps(all(kA), odd_a, even_a);
  out[2] = _mm256_fnmadd_ps(all(kA), odd_a, even_a);
  out[3] = _mm256_fmadd_ps(all(kB), odd_b, even_b);
  out[4] = _mm256_fnmadd_ps(all(kB), odd_b, even_b);
  out[5] = _mm256_fmadd_ps(all(kA2 * kB2), d1, _mm256_fnmadd_ps(all(kA2 + kB2), d3, d5));
}

// out = A' m
ACTMATCH_AVX2_INLINE void transform_output(Vector* out, const Vector* m) {
  const Vector m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3], m4 = m[4], m5 = m[5];
  const Vector sum_a = _mm256_add_ps(m1, m2), difference_a = _mm256_sub_ps(m1, m2);
  const Vector sum_b = _mm256_add_ps(m3, m4), difference_b = _mm256_sub_ps(m3, m4);
  out[0] = _mm256_add_ps(m0, _mm256_add_ps(sum_a, sum_b));
  out[1] = _mm256_fmadd_ps(all(kA), difference_a, _mm256_mul_ps(all(kB), difference_b));
  out[2] = _mm256_fmadd_ps(all(kA2), sum_a, _mm256_mul_ps(all(kB2), sum_b));
  out[3] = _mm256_fmadd_ps(all(kA * kA2), difference_a, _mm256_fmadd_ps(all(kB * kB2), difference_b, m5));
}

alignas(32) constexpr float kZeros[kIn * kLanes] = {};

// Where a tile lies: its first row and column, perhaps outside of the H x W plane.
struct Corner {
  int64_t top, left, H, W;
};

struct Gate {
  const float* plane;
  float low, high;  // low < gate <= high
};

// One 6x6 piece of eight channels. kGated: zeros where the gate is shut.
template <bool kGated>
ACTMATCH_AVX2 void transform_input_tile(float* v, int64_t point, const float* plane, const Gate& gate, const Corner& at) {
  Vector half[kIn][kIn];
  const float *rows[kIn], *gates[kIn];
#pragma GCC unroll 8
  for (int64_t i = 0; i < kIn; ++i) {
    const bool inside = at.top + i >= 0 && at.top + i < at.H;
    const int64_t offset = ((at.top + i) * at.W + at.left) * kLanes;
    rows[i] = inside ? plane + offset : kZeros;
    if constexpr (kGated) gates[i] = inside ? gate.plane + offset : kZeros;
  }
  const Vector low = _mm256_set1_ps(gate.low), high = _mm256_set1_ps(gate.high);
#pragma GCC unroll 8
  for (int64_t j = 0; j < kIn; ++j) {
    Vector column[kIn];
#pragma GCC unroll 8
    for (int64_t i = 0; i < kIn; ++i) column[i] = _mm256_setzero_ps();
    if (at.left + j >= 0 && at.left + j < at.W) {
#pragma GCC unroll 8
      for (int64_t i = 0; i < kIn; ++i) {
        column[i] = _mm256_loadu_ps(rows[i] + j * kLanes);
        if constexpr (kGated) {
          const Vector g = _mm256_loadu_ps(gates[i] + j * kLanes);
          column[i] = _mm256_and_ps(column[i], _mm256_and_ps(_mm256_cmp_ps(g, low, _CMP_GT_OQ), _mm256_cmp_ps(g, high, _CMP_LE_OQ)));
        }
      }
      transform_input(column, column);
    }
#pragma GCC unroll 8
    for (int64_t i = 0; i < kIn; ++i) half[i][j] = column[i];
  }
#pragma GCC unroll 8
  for (int64_t i = 0; i < kIn; ++i) {
    Vector row[kIn];
    transform_input(row, half[i]);
#pragma GCC unroll 8
    for (int64_t j = 0; j < kIn; ++j) _mm256_storeu_ps(v + (i * kIn + j) * point, row[j]);
  }
}

struct Epilogue {
  const float* bias;  // of these eight filters, or null
  float low, high;
  bool activation, accumulate;
};

// At most 4x4 pixels of eight filters; `rows` x `columns` of them lie inside of the plane.
ACTMATCH_AVX2 void transform_output_tile(float* y, int64_t row_floats, int64_t rows, int64_t columns, const float* m, int64_t point,
                                         const Epilogue& e) {
  Vector half[kOut][kIn];
#pragma GCC unroll 8
  for (int64_t j = 0; j < kIn; ++j) {
    Vector column[kIn], out[kOut];
#pragma GCC unroll 8
    for (int64_t i = 0; i < kIn; ++i) column[i] = _mm256_loadu_ps(m + (i * kIn + j) * point);
    transform_output(out, column);
#pragma GCC unroll 8
    for (int64_t i = 0; i < kOut; ++i) half[i][j] = out[i];
  }
  const Vector bias = e.bias ? _mm256_loadu_ps(e.bias) : _mm256_setzero_ps();
  const Vector low = _mm256_set1_ps(e.low), high = _mm256_set1_ps(e.high);
  for (int64_t i = 0; i < rows; ++i) {
    Vector row[kOut];
    transform_output(row, half[i]);
    for (int64_t j = 0; j < columns; ++j) {
      float* to = y + i * row_floats + j * kLanes;
      Vector value = _mm256_add_ps(row[j], bias);
      if (e.activation) value = _mm256_min_ps(_mm256_max_ps(value, low), high);
      if (e.accumulate) value = _mm256_add_ps(value, _mm256_loadu_ps(to));
      _mm256_storeu_ps(to, value);
    }
  }
}

// m = v u for kRows tiles and 16 filters. Each sum runs over the channels in order, so blocks and threads do not influence it.
template <int kRows>
ACTMATCH_AVX2 void multiply(float* m, int64_t m_row, const float* v, int64_t v_row, const float* u, int64_t depth) {
  Vector sum[kRows][2];
#pragma GCC unroll 8
  for (auto& s : sum) s[0] = s[1] = _mm256_setzero_ps();
  for (int64_t c = 0; c < depth; ++c) {
    const Vector u0 = _mm256_loadu_ps(u + c * kPanel), u1 = _mm256_loadu_ps(u + c * kPanel + kLanes);
    _mm_prefetch(reinterpret_cast<const char*>(u + (c + kAhead) * kPanel), _MM_HINT_T0);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vector x = _mm256_broadcast_ss(v + r * v_row + c);
      sum[r][0] = _mm256_fmadd_ps(x, u0, sum[r][0]);
      sum[r][1] = _mm256_fmadd_ps(x, u1, sum[r][1]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    _mm256_storeu_ps(m + r * m_row, sum[r][0]);
    _mm256_storeu_ps(m + r * m_row + kLanes, sum[r][1]);
  }
}
using Multiply = void (*)(float*, int64_t, const float*, int64_t, const float*, int64_t);
constexpr int64_t kMostRows = 6;  // twelve sums, two weights and a pixel: all but one of the sixteen registers
constexpr Multiply kMultiply[kMostRows] = {multiply<1>, multiply<2>, multiply<3>, multiply<4>, multiply<5>, multiply<6>};

}  // namespace

// Items are pairs of a channel block and a tile, tile fastest.
void Winograd::transform_inputs(float* v, int64_t block, const Arguments& a, int64_t first, int64_t last) const {
  const int64_t tiles = tiles_in(block), plane = s_.H * s_.W * kLanes, channel_blocks = s_.C / kLanes;
  for (int64_t item = first; item < last; ++item) {
    const int64_t channels = item / tiles, t = item % tiles;
    const Tile at = tile(block * block_tiles_ + t);
    const int64_t offset = (at.n * channel_blocks + channels) * plane;
    const Corner corner{at.row - s_.pad_top, at.column - s_.pad_left, s_.H, s_.W};
    float* to = v + t * s_.C + channels * kLanes;
    if (!a.gate) {
      transform_input_tile<false>(to, v_point_, a.x + offset, {}, corner);
      continue;
    }
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const Activation& g = a.gate_activation;
    // The largest number below `high` turns "<" into "<=".
    const Gate gate{a.gate + offset, g.relu ? 0.0f : g.low, g.relu ? kInfinity : std::nextafter(g.high, -kInfinity)};
    transform_input_tile<true>(to, v_point_, a.x + offset, gate, corner);
  }
}

void Winograd::multiply_and_transform(const float* v, float* m, int64_t block, int64_t group, const Arguments& a) const {
  const int64_t tiles = tiles_in(block), filters = std::min(kGroup, s_.K - group * kGroup), panels = panels_in(filters);
  const int64_t m_row = panels * kPanel, parts = (tiles + kMostRows - 1) / kMostRows;
  const float* u = a.u + group * kGroup * kPoints * s_.C;
  for (int64_t point = 0; point < kPoints; ++point)
    for (int64_t panel = 0; panel < panels; ++panel, u += s_.C * kPanel)
      for (int64_t part = 0; part < parts; ++part) {  // of nearly equal size: short ones waste the multipliers
        const int64_t begin = tiles * part / parts, rows = tiles * (part + 1) / parts - begin;
        kMultiply[rows - 1](m + point * m_point_ + begin * m_row + panel * kPanel, m_row, v + point * v_point_ + begin * s_.C, s_.C, u,
                            s_.C);
      }
  Epilogue e{nullptr, a.activation.relu ? 0.0f : a.activation.low,
             a.activation.relu ? std::numeric_limits<float>::infinity() : a.activation.high, a.activation.present, a.accumulate};
  const int64_t plane = s_.out_h * s_.out_w * kLanes, row_floats = s_.out_w * kLanes;
  for (int64_t f = 0; f < filters; f += kLanes) {
    const int64_t k = group * kGroup + f;
    if (a.bias) e.bias = a.bias + k;
    for (int64_t t = 0; t < tiles; ++t) {
      const Tile at = tile(block * block_tiles_ + t);
      float* y = a.y + (at.n * (s_.K / kLanes) + k / kLanes) * plane + at.row * row_floats + at.column * kLanes;
      transform_output_tile(y, row_floats, std::min(kOut, s_.out_h - at.row), std::min(kOut, s_.out_w - at.column), m + t * m_row + f,
                            m_point_, e);
    }
  }
}

void Winograd::run(const Arguments& a) const {
  const auto address = (reinterpret_cast<uintptr_t>(a.scratch) + kLine - 1) / kLine * kLine;
  float* v = reinterpret_cast<float*>(address);
  float* m = v + workers_ * static_cast<int64_t>(v_floats_);
  const int64_t workers = std::min<int64_t>(workers_, omp_get_max_threads());
  // As many blocks at a time as there are threads: all transform the inputs of these, then all multiply.
  for (int64_t first = 0; first < blocks_; first += workers) {
    const int64_t blocks = std::min(workers, blocks_ - first);
    parallel_ranges(workers, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t items = tiles_in(first + b) * (s_.C / kLanes);
        transform_inputs(v + b * static_cast<int64_t>(v_floats_), first + b, a, items * begin / workers, items * end / workers);
      }
    });
    const int64_t items = blocks * groups_;
    parallel_ranges(workers, 1, [&](int64_t begin, int64_t end) {
      float* own = m + begin * static_cast<int64_t>(m_floats_);
      for (int64_t item = items * begin / workers; item < items * end / workers; ++item) {
        const int64_t block = item / groups_;
        multiply_and_transform(v + block * static_cast<int64_t>(v_floats_), own, first + block, item % groups_, a);
      }
    });
  }
}

#else

bool Winograd::available() { return false; }
bool Winograd::pays(const WinogradShape&) { return false; }
Winograd::Winograd(const WinogradShape&) {}
void Winograd::run(const Arguments&) const {}

#endif

}  // namespace actmatch::cpu
