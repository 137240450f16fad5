#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace actmatch {

// An approximate inverse of the equations of a grid, each of which couples a pixel to some of its eight neighbours:
//   (A v)_i = diagonal_i v_i - sum_j coupling_ij v_j,   coupling_ij = coupling_ji >= 0, sum_j coupling_ij <= diagonal_i.
// One V-cycle over grids of half the size each: a step of damped Jacobi, the correction from the coarser grid, a step again. Symmetric and
// positive definite where A is, hence a preconditioner for conjugate gradients, whose number of rounds then hardly grows with the grid. In
// single precision: it steers, it does not decide.
class Multigrid {
 public:
  // Planes of (height + 2) x (width + 2) with a border of zeros. Pixels without an equation have diagonal 0 and no couplings. Couplings
  // are stored once a pair, at its upper or left pixel; south_west leads to the pixel one row below and one column before.
  struct Grid {
    int64_t height, width;
    std::vector<float> diagonal, east, south, south_east, south_west;
    Grid(int64_t height, int64_t width);
    int64_t pitch() const { return width + 2; }
    size_t at(int64_t y, int64_t x) const { return static_cast<size_t>((y + 1) * pitch() + x + 1); }
  };
  explicit Multigrid(Grid finest);

  // z ~ A^-1 r on planes like those of the finest grid; what lies on the border or has no equation must be 0 in r and is in z.
  void apply(std::vector<double>& z, const std::vector<double>& r);

 private:
  struct Level {
    Grid grid;
    std::vector<float> step;     // of Jacobi: damping / diagonal, 0 where there is no equation
    std::vector<float> z, r, t;  // answer, right-hand side, what is left of it
    explicit Level(Grid grid);
  };
  static Grid coarser(const Grid& fine);
  static void residual(Level& level);
  void cycle(size_t number);

  std::vector<Level> levels_;  // the finest first
};

}  // namespace actmatch
