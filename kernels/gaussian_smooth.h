// Gaussian smoothing of a gradient map, whose width changes from step to step: early steps move large regions, later ones details.
//
//   map[y, x] = sum over |d| <= R of tap[|d|] sum over |e| <= R of tap[|e|] map[y + d, x + e],   0 outside the map
//
// separable: the columns first, into scratch, then the rows. Widths come from a table: step t (from 1) uses row min(t, rows) - 1, with
// R = radius[row] and tap = taps[row, 0 .. R]; a radius of -1 leaves the map as it is. Sums run in the order of d.
// Bound by the cache: 2 (2 R + 1) reads of it a pixel.
#pragma once

#include <cstdint>

namespace actmatch::kernels {

template <class T>
struct SmoothTable {
  const T* taps = nullptr;          // [rows, stride]: weights at distance 0, 1, ...
  const int32_t* radius = nullptr;  // [rows], each less than stride
  int64_t rows = 0, stride = 0;
};

// map, scratch [B, H, W]; taps, radius and step (one) are device memory.
template <class T>
void gaussian_smooth_ref(T* map, T* scratch, const SmoothTable<T>& table, const uint32_t* step, int64_t B, int64_t H, int64_t W);

}  // namespace actmatch::kernels
