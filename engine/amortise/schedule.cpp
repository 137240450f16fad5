#include "engine/amortise/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "engine/core/error.h"
#include "kernels/philox.h"

namespace actmatch {

namespace {

// Fields of the stream of a training's own numbers; those below are first weights (generator.cpp).
constexpr uint32_t kOrderField = 1u << 20, kAreaField = (1u << 20) + 1;

double uniform(uint64_t seed, uint32_t field, uint32_t draw, int64_t index) {
  const auto block = kernels::random_block(seed, kernels::RandomStream::kInitialise, field, 0, draw, static_cast<uint32_t>(index / 4));
  return kernels::uniform_of(block.word[index % 4]);
}

// u in 0..1 to a share of the pixels.
double area_at(const AreaSchedule& schedule, double u) { return schedule.end * std::pow(schedule.start / schedule.end, u); }

}  // namespace

PictureOrder::PictureOrder(int64_t pictures, uint64_t seed) : pictures_(pictures), seed_(seed), order_(static_cast<size_t>(pictures)) {
  ACTMATCH_CHECK(pictures >= 1, "there is something to be shown");
}

int64_t PictureOrder::at(int64_t position) {
  const int64_t epoch = position / pictures_;
  if (epoch != epoch_) {
    std::iota(order_.begin(), order_.end(), int64_t{0});
    for (int64_t i = pictures_ - 1; i > 0; --i) {
      const double u = uniform(seed_, kOrderField, static_cast<uint32_t>(epoch), i);
      const auto j = std::min(i, static_cast<int64_t>(u * static_cast<double>(i + 1)));
      std::swap(order_[static_cast<size_t>(i)], order_[static_cast<size_t>(j)]);
    }
    epoch_ = epoch;
  }
  return order_[static_cast<size_t>(position % pictures_)];
}

std::vector<double> drawn_areas(const AreaSchedule& schedule, int64_t batch, uint64_t seed, int64_t number) {
  std::vector<double> areas;
  for (int64_t i = 0; i < batch; ++i) {
    const double u = uniform(seed, kAreaField, static_cast<uint32_t>(number), i);
    areas.push_back(area_at(schedule, (static_cast<double>(i) + u) / static_cast<double>(batch)));
  }
  return areas;
}

std::vector<double> fixed_areas(const AreaSchedule& schedule, int64_t count, int64_t first) {
  std::vector<double> areas;
  for (int64_t i = 0; i < count; ++i) {
    double whole = 0;  // multiples of the golden ratio fill 0..1 evenly, however many there are
    areas.push_back(area_at(schedule, std::modf((static_cast<double>(first + i) + 0.5) / std::numbers::phi, &whole)));
  }
  return areas;
}

double learning_rate_at(double peak, int64_t number, int64_t steps) {
  const auto t = static_cast<double>(number), all = static_cast<double>(steps);
  const double rise = std::max(1.0, all / 20);
  return peak * std::min(1.0, t / rise) * 0.5 * (1 + std::cos(std::numbers::pi * (t - 1) / all));
}

}  // namespace actmatch
