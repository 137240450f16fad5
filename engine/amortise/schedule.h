// What a training shows when: the order of the pictures, the areas of the masks, the learning rate. Each is a pure function of the seed and
// the step's number, so that a training that goes on after a break does what it would have done without one.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/explain/recipe.h"

namespace actmatch {

// Which pictures are shown, all of them once before any comes again, in another order each time.
class PictureOrder {
 public:
  PictureOrder(int64_t pictures, uint64_t seed);
  // The picture at place `position` of the training, from 0.
  int64_t at(int64_t position);

 private:
  int64_t pictures_;
  uint64_t seed_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // of that epoch
};

// Shares of the pixels that the masks of step `number` have, one a picture: drawn between the ends of the recipe's fall, evenly in the
// logarithm, one from each of `batch` equal parts. So the generator learns an order of the pixels of which every beginning is a mask.
std::vector<double> drawn_areas(const AreaSchedule& schedule, int64_t batch, uint64_t seed, int64_t number);
// The same for pictures `first` and on that are only looked at: a picture always has the same.
std::vector<double> fixed_areas(const AreaSchedule& schedule, int64_t count, int64_t first);

// Rises evenly over the first twentieth of the steps and falls to nothing along half a cosine. `number` from 1 to `steps`.
double learning_rate_at(double peak, int64_t number, int64_t steps);

}  // namespace actmatch
