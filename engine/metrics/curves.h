// p of the class while pixels are replaced one group after the other: deletion and insertion curves.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/metrics/images.h"

namespace actmatch {

// Before the first step and after each of them: pixels of `from` [C, H, W] become those of `to` in the given order, ceil(HW / steps) a
// step.
std::vector<double> replacement_curve(Classifier& classifier, const Problem& problem, const std::vector<int64_t>& order,
                                      const std::vector<float>& from, const std::vector<float>& to, int64_t steps);
// Trapezoidal rule over 0..1.
double curve_area(const std::vector<double>& curve);

}  // namespace actmatch
