// Tiles of a mask, for pruning. The grid of t x t tiles starts in the upper left corner; tiles at the right and lower edge are smaller
// where t does not divide the extent. Rows = ceil(H / t), columns = ceil(W / t), tile number = row * columns + column.
//
//   tile_sum       sum of a map over each tile (a mask: its pixels; a gradient: its weight)
//   tile_state     is the tile outside, partly inside or wholly inside the hard mask
//   remove_tiles   the hard mask without some tiles
//   compose_candidates   the composed images of many candidate removals; each differs from a common base in few tiles only, so the base is
//                        copied and just those tiles are rewritten
//
// Bound by memory traffic.
#pragma once

#include <cstdint>

#include "kernels/mask.h"

namespace actmatch::kernels {

struct TileGrid {
  TileGrid(int64_t image_height, int64_t image_width, int64_t tile_size)
      : H(image_height),
        W(image_width),
        tile(tile_size),
        rows((image_height + tile_size - 1) / tile_size),
        columns((image_width + tile_size - 1) / tile_size) {}
  int64_t count() const { return rows * columns; }

  int64_t H, W, tile;
  int64_t rows, columns;
};

enum class TileState : uint8_t { kEmpty, kPartial, kFull };

// sum [B, tiles] of map [B, H, W]; mean = sum / pixels [tiles].
template <class T>
void tile_sum_ref(T* sum, const T* map, const TileGrid& grid, int64_t B);
// pixels [tiles]: how many pixels each tile has.
void tile_pixels_ref(int64_t* pixels, const TileGrid& grid);

// state [B, tiles] of a hard mask h [B, H, W] (inside: h != 0).
template <class T>
void tile_state_ref(TileState* state, const T* h, const TileGrid& grid, int64_t B);

// Sets h [H, W] to 0 in the `count` tiles listed; tiles may repeat.
template <class T>
void remove_tiles_ref(T* h, const int32_t* tiles, int64_t count, const TileGrid& grid);

// out [P*n, C, H, W], row p*n + j: base[p] with the tiles of candidate j out of the mask, that is, filled from pass p's background
// (explanation) or from x (complement). Candidate j removes tiles[offsets[j]] .. tiles[offsets[j+1] - 1]; offsets [n + 1].
// base [P, C, H, W] is what compose_ref gives for the one image x [C, H, W], the same passes and the mask before the removal.
template <class T>
void compose_candidates_ref(T* out, const T* base, const T* x, const ComposePass<T>* passes, const int32_t* tiles, const int32_t* offsets,
                            const TileGrid& grid, int64_t n, int64_t P, int64_t C);

}  // namespace actmatch::kernels
