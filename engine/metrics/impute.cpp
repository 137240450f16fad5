// The equations times the sum of the weights are symmetric and, as long as some pixel is known, positive definite: conjugate gradients with
// the diagonal as preconditioner, in double, to a residual of 1e-9 of the right-hand side.
#include "engine/metrics/impute.h"

#include <cmath>

namespace actmatch {

namespace {

struct Link {
  int32_t to;  // unknown; -1 - pixel for a known pixel
  double weight;
};

}  // namespace

std::vector<float> impute(const std::vector<float>& image, const HardMask& removed, int64_t height, int64_t width) {
  const auto pixels = static_cast<size_t>(height * width);
  std::vector<int32_t> unknown(pixels, -1);
  std::vector<size_t> place;
  for (size_t i = 0; i < pixels; ++i)
    if (removed[i]) {
      unknown[i] = static_cast<int32_t>(place.size());
      place.push_back(i);
    }
  std::vector<float> out = image;
  const size_t n = place.size();
  if (n == 0) return out;
  std::vector<double> diagonal(n, 0.0);
  std::vector<Link> links;
  std::vector<size_t> start{0};
  for (size_t u = 0; u < n; ++u) {
    const auto y = static_cast<int64_t>(place[u]) / width, x = static_cast<int64_t>(place[u]) % width;
    for (int64_t dy = -1; dy <= 1; ++dy)
      for (int64_t dx = -1; dx <= 1; ++dx) {
        if ((dy == 0 && dx == 0) || y + dy < 0 || y + dy >= height || x + dx < 0 || x + dx >= width) continue;
        const auto j = static_cast<size_t>((y + dy) * width + x + dx);
        const double weight = dy == 0 || dx == 0 ? 1.0 / 6 : 1.0 / 12;
        diagonal[u] += weight;
        links.push_back({unknown[j] >= 0 ? unknown[j] : static_cast<int32_t>(-1 - static_cast<int64_t>(j)), weight});
      }
    start.push_back(links.size());
  }
  std::vector<double> value(n), residual(n), direction(n), product(n);
  for (size_t base = 0; base < image.size(); base += pixels) {
    double mean = 0, known = 0;
    for (size_t i = 0; i < pixels; ++i)
      if (!removed[i]) mean += image[base + i], known += 1;
    mean = known > 0 ? mean / known : 0;
    double size = 0, rho = 0;
    for (size_t u = 0; u < n; ++u) {
      value[u] = mean;
      double right = 0, left = diagonal[u] * mean;
      for (size_t k = start[u]; k < start[u + 1]; ++k) {
        if (links[k].to < 0)
          right += links[k].weight * image[base + static_cast<size_t>(-1 - links[k].to)];
        else
          left -= links[k].weight * mean;
      }
      size += right * right;
      residual[u] = right - left;
      direction[u] = residual[u] / diagonal[u];
      rho += residual[u] * direction[u];
    }
    for (size_t round = 0; known > 0 && round < 20 * n + 100; ++round) {
      double error = 0, curve = 0;
      for (double r : residual) error += r * r;
      if (error <= 1e-18 * size) break;
      for (size_t u = 0; u < n; ++u) {
        double sum = diagonal[u] * direction[u];
        for (size_t k = start[u]; k < start[u + 1]; ++k)
          if (links[k].to >= 0) sum -= links[k].weight * direction[static_cast<size_t>(links[k].to)];
        product[u] = sum;
        curve += sum * direction[u];
      }
      if (!(curve > 0)) break;
      const double step = rho / curve;
      double next = 0;
      for (size_t u = 0; u < n; ++u) {
        value[u] += step * direction[u];
        residual[u] -= step * product[u];
        next += residual[u] * residual[u] / diagonal[u];
      }
      for (size_t u = 0; u < n; ++u) direction[u] = residual[u] / diagonal[u] + next / rho * direction[u];
      rho = next;
    }
    for (size_t u = 0; u < n; ++u) out[base + place[u]] = static_cast<float>(value[u]);
  }
  return out;
}

}  // namespace actmatch
