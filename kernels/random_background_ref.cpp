#include "kernels/random_background.h"

#include <algorithm>
#include <cmath>

#include "kernels/normal_batch.h"
#include "kernels/vector_math.h"

namespace actmatch::kernels {
namespace {

enum Field : uint32_t { kColourField = 0, kGridField = 1, kWhiteField = 2 };
constexpr int64_t kMaxGrid = 16;

// Where one background's numbers come from.
struct Source {
  uint64_t seed;
  RandomStream stream;
  uint32_t image, draw;
  // out [4 * count], count <= kNormalBatch.
  void blocks(double* out, uint32_t field, int64_t begin, int64_t count) const {
    normal_batch(out, seed, stream, field, image, draw, static_cast<uint32_t>(begin), count);
  }
};

struct CubicTaps {
  int64_t cell[4];
  double weight[4];
};

CubicTaps cubic_taps(int64_t i, int64_t in, int64_t out) {
  constexpr double a = -0.75;
  const double source = (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
  const double base = std::floor(source);
  CubicTaps taps;
  for (int k = 0; k < 4; ++k) {
    const double d = std::abs(source - (base + k - 1));
    taps.cell[k] = std::clamp<int64_t>(static_cast<int64_t>(base) + k - 1, 0, in - 1);
    taps.weight[k] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  }
  return taps;
}

// out [H, W] = level + gain * up(grid), grid [n, n]; first along the rows, kBlock columns at a time, then down the columns.
template <class T>
void fill_smooth(T* out, const double* grid, int64_t n, double level, double gain, int64_t H, int64_t W) {
  double wide[kMaxGrid][kBlock];
  for (int64_t begin = 0; begin < W; begin += kBlock) {
    const int64_t columns = std::min(kBlock, W - begin);
    for (int64_t j = 0; j < columns; ++j) {
      const CubicTaps taps = cubic_taps(begin + j, n, W);
      for (int64_t r = 0; r < n; ++r) {
        double sum = 0;
        for (int k = 0; k < 4; ++k) sum += taps.weight[k] * grid[r * n + taps.cell[k]];
        wide[r][j] = sum;
      }
    }
    for (int64_t y = 0; y < H; ++y) {
      const CubicTaps taps = cubic_taps(y, n, H);
      const double *r0 = wide[taps.cell[0]], *r1 = wide[taps.cell[1]], *r2 = wide[taps.cell[2]], *r3 = wide[taps.cell[3]];
      const double w0 = gain * taps.weight[0], w1 = gain * taps.weight[1], w2 = gain * taps.weight[2], w3 = gain * taps.weight[3];
      T* row = out + y * W + begin;
      for (int64_t j = 0; j < columns; ++j) row[j] = static_cast<T>(level + (w0 * r0[j] + w1 * r1[j]) + (w2 * r2[j] + w3 * r3[j]));
    }
  }
}

}  // namespace

template <class T>
void random_background_ref(T* out, const BackgroundSpec& spec, RandomStream stream, uint32_t image, uint32_t first, int64_t count) {
  const int64_t C = spec.channels, H = spec.height, W = spec.width, HW = H * W;
  for (int64_t item = 0; item < count; ++item, out += C * HW) {
    const auto draw = static_cast<uint32_t>(first + item);
    const Source source{spec.seed, stream, image, draw};
    const uint32_t kind = draw % 3;
    // Channel c is level[c] + gain[c] * noise, in network units.
    double level[kMaxBackgroundChannels], gain[kMaxBackgroundChannels];
    double u[4];
    source.blocks(u, kColourField, 0, 1);
    for (int64_t c = 0; c < C; ++c) {
      gain[c] = spec.sigma[c] * spec.scale[c];
      level[c] = spec.mu[c] * spec.scale[c] + spec.offset[c] + (kind == 0 ? 1.0 : 0.5) * gain[c] * u[c];
    }
    if (kind == 0) {
      for (int64_t c = 0; c < C; ++c) std::fill_n(out + c * HW, HW, static_cast<T>(level[c]));
    } else if (kind == 1) {
      const int64_t n = int64_t{4} << ((draw / 3) % 3);
      double grid[kMaxGrid * kMaxGrid];
      for (int64_t c = 0; c < C; ++c) {
        // n * n / 4 is 4, 16 or 64: every channel starts a new block, and one batch holds it.
        source.blocks(grid, kGridField, c * n * n / 4, n * n / 4);
        fill_smooth(out + c * HW, grid, n, level[c], gain[c], H, W);
      }
    } else {
      const int64_t size = C * HW;
      double v[4 * kNormalBatch];
      for (int64_t begin = 0; begin < size; begin += 4 * kNormalBatch) {
        const int64_t end = std::min(size, begin + 4 * kNormalBatch);
        source.blocks(v, kWhiteField, begin / 4, (end - begin + 3) / 4);
        for (int64_t at = begin; at < end;) {  // channel by channel
          const int64_t c = at / HW, stop = std::min(end, (c + 1) * HW);
          const double base = level[c], spread = 0.5 * gain[c];
          for (; at < stop; ++at) out[at] = static_cast<T>(base + spread * v[at - begin]);
        }
      }
    }
  }
}

template void random_background_ref<float>(float*, const BackgroundSpec&, RandomStream, uint32_t, uint32_t, int64_t);
template void random_background_ref<double>(double*, const BackgroundSpec&, RandomStream, uint32_t, uint32_t, int64_t);

}  // namespace actmatch::kernels
