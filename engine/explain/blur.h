// A picture under a Gaussian: a background that still has its colours but not its details.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/explain/classifier.h"

namespace actmatch {

// Separable Gaussian of 2 radius + 1 taps, normalised; outside the picture counts as 0 or as its border.
std::vector<float> gaussian_blur(const std::vector<float>& image, const ClassifierShape& shape, double sigma, int64_t radius,
                                 bool replicate);

}  // namespace actmatch
