// One image and one class to be explained, with everything that does not change while a mask is sought.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/explain/classifier.h"
#include "kernels/random_background.h"

namespace actmatch {

// What makes a hard mask acceptable; checked by running the classifier on it.
struct Criterion {
  bool robust = false;       // operating point: sufficient (label and p on the baseline background) or robust (random backgrounds too)
  double tau = 0.5;          // p_y(e) >= tau * p_y(x)
  double rho = 0.9;          // share of the random backgrounds on which the label holds
  int64_t backgrounds = 32;  // K

  bool operator==(const Criterion&) const = default;
};

struct Problem {
  std::vector<float> x;                 // [C, H, W] network units
  std::vector<float> colour;            // [C] the baseline background b0, network units
  kernels::BackgroundSpec backgrounds;  // random backgrounds (seeded)
  uint32_t image_index = 0;             // keeps the random streams of several images apart
  int32_t label = 0;
  std::vector<float> logits_x;  // [K]
  float p_x = 0;                // p_y(x)
  Criterion criterion;
  std::vector<uint8_t> allowed;  // [H, W] pixels a mask may use; empty: all (several instances exclude earlier masks)

  int64_t pixels(const ClassifierShape& shape) const { return shape.height * shape.width; }
};

using HardMask = std::vector<uint8_t>;  // [H, W], 0 or 1
int64_t count_pixels(const HardMask& mask);

}  // namespace actmatch
