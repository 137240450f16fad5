// The equations times the sum of the weights are symmetric and, as long as some pixel is known, positive definite: conjugate gradients,
// preconditioned by a multigrid cycle, in double, to a residual of 1e-9 of the right-hand side. All on whole planes with a border of zeros,
// so that the loops run along rows and vectorise; what is not removed is zero there.
#include "engine/metrics/impute.h"

#include "engine/metrics/multigrid.h"
#include "kernels/vectorise.h"

namespace actmatch {

namespace {

constexpr double kDirect = 1.0 / 6, kDiagonal = 1.0 / 12;

// out[x] = removed[x] (diagonal[x] v[x] - weighted neighbours of v); v points into a plane of rows `pitch` apart.
ACTMATCH_MULTIVERSION void apply_row(double* out, const double* v, const double* removed, const double* diagonal, int64_t width,
                                     int64_t pitch) {
  const double *above = v - pitch, *below = v + pitch;
  for (int64_t x = 0; x < width; ++x) {
    const double direct = above[x] + below[x] + v[x - 1] + v[x + 1];
    const double slanting = above[x - 1] + above[x + 1] + below[x - 1] + below[x + 1];
    out[x] = removed[x] * (diagonal[x] * v[x] - kDirect * direct - kDiagonal * slanting);
  }
}

// The sum of term(i), in a fixed order.
template <class Term>
ACTMATCH_INLINE double sum_of(int64_t n, Term term) {
  constexpr int64_t kLanes = 16;
  double lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t j = 0; j < kLanes; ++j) lane[j] += term(i + j);
  for (; i < n; ++i) lane[0] += term(i);
  double sum = 0;
  for (double l : lane) sum += l;
  return sum;
}
ACTMATCH_MULTIVERSION double dot(const double* a, const double* b, int64_t n) {
  return sum_of(
      n, [=](int64_t i) __attribute__((always_inline)) { return a[i] * b[i]; });
}

ACTMATCH_MULTIVERSION void add_scaled(double* out, double scale, const double* v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] += scale * v[i];
}
// direction = steered + scale * direction.
ACTMATCH_MULTIVERSION void turn(double* direction, const double* steered, double scale, int64_t n) {
  for (int64_t i = 0; i < n; ++i) direction[i] = steered[i] + scale * direction[i];
}

class Filling {
 public:
  Filling(const HardMask& removed, int64_t height, int64_t width)
      : height_(height), width_(width), pitch_(width + 2), size_((height + 2) * pitch_), removed_(plane()), diagonal_(plane()) {
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x) {
        if (!removed[static_cast<size_t>(y * width + x)]) continue;
        const bool left = x > 0, right = x + 1 < width, above = y > 0, below = y + 1 < height;
        removed_[at(y, x)] = 1;
        diagonal_[at(y, x)] = kDirect * (left + right + above + below) + kDiagonal * ((left + right) * (above + below));
        ++unknown_;
      }
  }

  int64_t unknown() const { return unknown_; }

  // The equations as the preconditioner takes them.
  Multigrid::Grid grid() const {
    Multigrid::Grid grid(height_, width_);
    each([&](int64_t, size_t p) {
      if (removed_[p] == 0) return;
      const auto pitch = static_cast<size_t>(pitch_);
      grid.diagonal[p] = static_cast<float>(diagonal_[p]);
      grid.east[p] = static_cast<float>(kDirect * removed_[p + 1]);
      grid.south[p] = static_cast<float>(kDirect * removed_[p + pitch]);
      grid.south_east[p] = static_cast<float>(kDiagonal * removed_[p + pitch + 1]);
      grid.south_west[p] = static_cast<float>(kDiagonal * removed_[p + pitch - 1]);
    });
    return grid;
  }

  // Replaces the removed pixels of one channel [H, W].
  void fill(float* image, Multigrid& preconditioner) const {
    double mean = 0;
    const int64_t known = height_ * width_ - unknown_;
    std::vector<double> value = plane(), product = plane();
    each([&](int64_t i, size_t p) {
      if (removed_[p] == 0) value[p] = image[i], mean += image[i];
    });
    mean = known > 0 ? mean / static_cast<double>(known) : 0;
    apply(product, value);  // of what is known alone: the right-hand side, negative
    const double size = dot(product.data(), product.data(), size_);
    for (size_t p = 0; p < value.size(); ++p)
      if (removed_[p] != 0) value[p] = mean;
    std::vector<double> residual = plane(), steered = plane(), direction = plane();
    apply(residual, value);
    for (double& r : residual) r = -r;
    double rho = 0;
    for (int64_t round = 0; known > 0 && round < 20 * unknown_ + 100; ++round) {
      if (dot(residual.data(), residual.data(), size_) <= 1e-18 * size) break;
      preconditioner.apply(steered, residual);
      const double next = dot(residual.data(), steered.data(), size_);
      turn(direction.data(), steered.data(), round == 0 ? 0 : next / rho, size_);
      rho = next;
      apply(product, direction);
      const double curve = dot(direction.data(), product.data(), size_);
      if (!(curve > 0)) break;
      add_scaled(value.data(), rho / curve, direction.data(), size_);
      add_scaled(residual.data(), -rho / curve, product.data(), size_);
    }
    each([&](int64_t i, size_t p) {
      if (removed_[p] != 0) image[i] = static_cast<float>(value[p]);
    });
  }

 private:
  std::vector<double> plane() const { return std::vector<double>(static_cast<size_t>(size_), 0.0); }
  size_t at(int64_t y, int64_t x) const { return static_cast<size_t>((y + 1) * pitch_ + x + 1); }
  template <class F>
  void each(F f) const {
    for (int64_t y = 0; y < height_; ++y)
      for (int64_t x = 0; x < width_; ++x) f(y * width_ + x, at(y, x));
  }
  void apply(std::vector<double>& out, const std::vector<double>& v) const {
    for (int64_t y = 0; y < height_; ++y) {
      const size_t row = at(y, 0);
      apply_row(out.data() + row, v.data() + row, removed_.data() + row, diagonal_.data() + row, width_, pitch_);
    }
  }

  int64_t height_, width_, pitch_, size_, unknown_ = 0;
  std::vector<double> removed_, diagonal_;
};

}  // namespace

std::vector<float> impute(const std::vector<float>& image, const HardMask& removed, int64_t height, int64_t width) {
  std::vector<float> out = image;
  Filling filling(removed, height, width);
  if (filling.unknown() == 0) return out;
  Multigrid preconditioner(filling.grid());
  for (size_t base = 0; base < image.size(); base += static_cast<size_t>(height * width)) filling.fill(out.data() + base, preconditioner);
  return out;
}

}  // namespace actmatch
