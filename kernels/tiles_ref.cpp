#include "kernels/tiles.h"

#include <algorithm>

#include "kernels/vector_math.h"

namespace actmatch::kernels {
namespace {

struct Box {
  int64_t top, left, height, width;
};

Box box_of(const TileGrid& grid, int64_t tile) {
  const int64_t top = tile / grid.columns * grid.tile, left = tile % grid.columns * grid.tile;
  return {top, left, std::min(grid.tile, grid.H - top), std::min(grid.tile, grid.W - left)};
}

}  // namespace

template <class T>
void tile_sum_ref(T* sum, const T* map, const TileGrid& grid, int64_t B) {
  for (int64_t b = 0; b < B; ++b, map += grid.H * grid.W) {
    for (int64_t tile = 0; tile < grid.count(); ++tile) {
      const Box box = box_of(grid, tile);
      double total = 0;
      for (int64_t y = 0; y < box.height; ++y) {
        const T* row = map + (box.top + y) * grid.W + box.left;
        total += sum_of<T>(box.width, [row](int64_t i) { return row[i]; });
      }
      *sum++ = static_cast<T>(total);
    }
  }
}

void tile_pixels_ref(int64_t* pixels, const TileGrid& grid) {
  for (int64_t tile = 0; tile < grid.count(); ++tile) {
    const Box box = box_of(grid, tile);
    pixels[tile] = box.height * box.width;
  }
}

template <class T>
void tile_state_ref(TileState* state, const T* h, const TileGrid& grid, int64_t B) {
  for (int64_t b = 0; b < B; ++b, h += grid.H * grid.W) {
    for (int64_t tile = 0; tile < grid.count(); ++tile) {
      const Box box = box_of(grid, tile);
      int64_t inside = 0;
      for (int64_t y = 0; y < box.height; ++y) {
        const T* row = h + (box.top + y) * grid.W + box.left;
        for (int64_t i = 0; i < box.width; ++i) inside += row[i] != T(0);
      }
      *state++ = inside == 0 ? TileState::kEmpty : (inside == box.height * box.width ? TileState::kFull : TileState::kPartial);
    }
  }
}

template <class T>
void remove_tiles_ref(T* h, const int32_t* tiles, int64_t count, const TileGrid& grid) {
  for (int64_t k = 0; k < count; ++k) {
    const Box box = box_of(grid, tiles[k]);
    for (int64_t y = 0; y < box.height; ++y) std::fill_n(h + (box.top + y) * grid.W + box.left, box.width, T(0));
  }
}

template <class T>
void compose_candidates_ref(T* out, const T* base, const T* x, const ComposePass<T>* passes, const int32_t* tiles, const int32_t* offsets,
                            const TileGrid& grid, int64_t n, int64_t P, int64_t C) {
  const int64_t HW = grid.H * grid.W;
  for (int64_t p = 0; p < P; ++p) {
    const ComposePass<T>& pass = passes[p];
    // An image to copy from; with one image only, both image layouts are [C, HW], and both colours [C].
    const bool colour = pass.layout == BackgroundLayout::kColour || pass.layout == BackgroundLayout::kColourPerItem;
    const T* image = pass.complement ? x : (colour ? nullptr : pass.background);
    for (int64_t j = 0; j < n; ++j) {
      T* candidate = out + (p * n + j) * C * HW;
      std::copy_n(base + p * C * HW, C * HW, candidate);
      for (int32_t k = offsets[j]; k < offsets[j + 1]; ++k) {
        const Box box = box_of(grid, tiles[k]);
        for (int64_t c = 0; c < C; ++c) {
          for (int64_t y = 0; y < box.height; ++y) {
            const int64_t at = c * HW + (box.top + y) * grid.W + box.left;
            if (image) {
              std::copy_n(image + at, box.width, candidate + at);
            } else {
              std::fill_n(candidate + at, box.width, pass.background[c]);
            }
          }
        }
      }
    }
  }
}

#define ACTMATCH_INSTANTIATE(T)                                                                                                           \
  template void tile_sum_ref<T>(T*, const T*, const TileGrid&, int64_t);                                                                  \
  template void tile_state_ref<T>(TileState*, const T*, const TileGrid&, int64_t);                                                        \
  template void remove_tiles_ref<T>(T*, const int32_t*, int64_t, const TileGrid&);                                                        \
  template void compose_candidates_ref<T>(T*, const T*, const T*, const ComposePass<T>*, const int32_t*, const int32_t*, const TileGrid&, \
                                          int64_t, int64_t, int64_t);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
