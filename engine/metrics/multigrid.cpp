// Unknowns of a coarser grid are constant over blocks of 2 x 2 pixels, its equations the sums of theirs (Galerkin): still eight neighbours
// and non-negative couplings, whatever shape the unknown pixels have. Such corrections are known to fall short, so they are stretched
// (Braess, "Towards algebraic multigrid for elliptic problems of second order", 1995, has 1.8).
#include "engine/metrics/multigrid.h"

#include <algorithm>

#include "kernels/vectorise.h"

namespace actmatch {

namespace {

constexpr float kDamping = 0.8f, kStretch = 1.8f;
constexpr int64_t kCoarsest = 4;     // pixels along a side
constexpr int kCoarsestSweeps = 16;  // of Jacobi there

// t = r - A z along a row.
ACTMATCH_MULTIVERSION void residual_row(float* __restrict t, const float* r, const float* z, const float* diagonal, const float* east,
                                        const float* south, const float* south_east, const float* south_west, int64_t width,
                                        int64_t pitch) {
  for (int64_t x = 0; x < width; ++x) {
    const float sides = east[x] * z[x + 1] + east[x - 1] * z[x - 1] + south[x] * z[x + pitch] + south[x - pitch] * z[x - pitch];
    const float slanting = south_east[x] * z[x + pitch + 1] + south_east[x - pitch - 1] * z[x - pitch - 1] +
                           south_west[x] * z[x + pitch - 1] + south_west[x - pitch + 1] * z[x - pitch + 1];
    t[x] = r[x] - diagonal[x] * z[x] + sides + slanting;
  }
}
ACTMATCH_MULTIVERSION void add_product(float* z, const float* step, const float* t, int64_t n) {
  for (int64_t i = 0; i < n; ++i) z[i] += step[i] * t[i];
}
ACTMATCH_MULTIVERSION void product(float* z, const float* step, const float* r, int64_t n) {
  for (int64_t i = 0; i < n; ++i) z[i] = step[i] * r[i];
}

}  // namespace

Multigrid::Grid::Grid(int64_t h, int64_t w) : height(h), width(w) {
  for (auto* plane : {&diagonal, &east, &south, &south_east, &south_west}) plane->assign(static_cast<size_t>((h + 2) * (w + 2)), 0.0f);
}

Multigrid::Level::Level(Grid g) : grid(std::move(g)) {
  for (auto* plane : {&step, &z, &r, &t}) plane->assign(grid.diagonal.size(), 0.0f);
  for (size_t p = 0; p < step.size(); ++p) step[p] = grid.diagonal[p] > 0 ? kDamping / grid.diagonal[p] : 0;
}

Multigrid::Multigrid(Grid finest) {
  levels_.emplace_back(std::move(finest));
  while (std::max(levels_.back().grid.height, levels_.back().grid.width) > kCoarsest) levels_.emplace_back(coarser(levels_.back().grid));
}

Multigrid::Grid Multigrid::coarser(const Grid& fine) {
  Grid coarse((fine.height + 1) / 2, (fine.width + 1) / 2);
  std::vector<double> diagonal(coarse.diagonal.size(), 0.0);  // little is left of large sums where no known pixel is near
  for (int64_t y = 0; y < fine.height; ++y)
    for (int64_t x = 0; x < fine.width; ++x) {
      const size_t p = fine.at(y, x);
      const int64_t Y = y / 2, X = x / 2;
      diagonal[coarse.at(Y, X)] += fine.diagonal[p];
      const auto couple = [&](float coupling, int64_t to_y, int64_t to_x) {
        if (coupling == 0) return;
        const int64_t dy = to_y / 2 - Y, dx = to_x / 2 - X;
        if (dy == 0 && dx == 0)
          diagonal[coarse.at(Y, X)] -= 2.0 * coupling;
        else if (dy == 0)
          coarse.east[coarse.at(Y, dx > 0 ? X : X - 1)] += coupling;
        else
          (dx == 0 ? coarse.south : dx > 0 ? coarse.south_east : coarse.south_west)[coarse.at(Y, X)] += coupling;
      };
      couple(fine.east[p], y, x + 1);
      couple(fine.south[p], y + 1, x);
      couple(fine.south_east[p], y + 1, x + 1);
      couple(fine.south_west[p], y + 1, x - 1);
    }
  std::copy(diagonal.begin(), diagonal.end(), coarse.diagonal.begin());
  return coarse;
}

void Multigrid::residual(Level& level) {
  const Grid& g = level.grid;
  for (int64_t y = 0; y < g.height; ++y) {
    const size_t row = g.at(y, 0);
    residual_row(&level.t[row], &level.r[row], &level.z[row], &g.diagonal[row], &g.east[row], &g.south[row], &g.south_east[row],
                 &g.south_west[row], g.width, g.pitch());
  }
}

void Multigrid::cycle(size_t number) {
  Level& level = levels_[number];
  const auto size = static_cast<int64_t>(level.z.size());
  product(level.z.data(), level.step.data(), level.r.data(), size);
  if (number + 1 == levels_.size()) {
    for (int sweep = 1; sweep < kCoarsestSweeps; ++sweep) {
      residual(level);
      add_product(level.z.data(), level.step.data(), level.t.data(), size);
    }
    return;
  }
  residual(level);
  Level& coarse = levels_[number + 1];
  const Grid &g = level.grid, &c = coarse.grid;
  for (int64_t Y = 0; Y < c.height; ++Y)
    for (int64_t X = 0; X < c.width; ++X) {  // of an odd size the last block reaches over the border, where t is 0
      const float* block = &level.t[g.at(2 * Y, 2 * X)];
      coarse.r[c.at(Y, X)] = block[0] + block[1] + (2 * Y + 1 < g.height ? block[g.pitch()] + block[g.pitch() + 1] : 0);
    }
  cycle(number + 1);
  for (int64_t y = 0; y < g.height; ++y)
    for (int64_t x = 0; x < g.width; ++x) {
      const size_t p = g.at(y, x);
      if (level.step[p] > 0) level.z[p] += kStretch * coarse.z[c.at(y / 2, x / 2)];
    }
  residual(level);
  add_product(level.z.data(), level.step.data(), level.t.data(), size);
}

void Multigrid::apply(std::vector<double>& z, const std::vector<double>& r) {
  Level& finest = levels_.front();
  std::copy(r.begin(), r.end(), finest.r.begin());
  cycle(0);
  std::copy(finest.z.begin(), finest.z.end(), z.begin());
}

}  // namespace actmatch
