#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/explain/problem.h"
#include "kernels/select_compose.h"

namespace actmatch {

// Square tiles from the upper left corner, smaller at the right and lower edge, as boxes of pixels.
class Tiles {
 public:
  Tiles(int64_t height, int64_t width, int64_t tile)
      : W_(width), H_(height), tile_(tile), columns_((width + tile - 1) / tile), rows_((height + tile - 1) / tile) {}
  int64_t count() const { return rows_ * columns_; }
  kernels::PixelBox box(int64_t t) const {
    const int64_t top = t / columns_ * tile_, left = t % columns_ * tile_;
    return {static_cast<int32_t>(top), static_cast<int32_t>(left), static_cast<int32_t>(std::min(H_, top + tile_)),
            static_cast<int32_t>(std::min(W_, left + tile_))};
  }
  template <class Body>
  void each_pixel(int64_t t, const Body& body) const {
    const kernels::PixelBox b = box(t);
    for (int64_t y = b.top; y < b.bottom; ++y)
      for (int64_t x = b.left; x < b.right; ++x) body(static_cast<size_t>(y * W_ + x));
  }
  std::vector<int64_t> occupied(const HardMask& mask) const {
    std::vector<int64_t> list;
    for (int64_t t = 0; t < count(); ++t) {
      bool any = false;
      each_pixel(t, [&](size_t i) { any = any || mask[i]; });
      if (any) list.push_back(t);
    }
    return list;
  }
  void remove(HardMask& mask, int64_t t) const {
    each_pixel(t, [&](size_t i) { mask[i] = 0; });
  }
  std::vector<double> sums(const std::vector<float>& map) const {
    std::vector<double> sum(static_cast<size_t>(count()), 0.0);
    for (int64_t t = 0; t < count(); ++t) each_pixel(t, [&](size_t i) { sum[static_cast<size_t>(t)] += map[i]; });
    return sum;
  }

 private:
  int64_t W_, H_, tile_, columns_, rows_;
};

}  // namespace actmatch
