#pragma once

#include <cstdint>
#include <vector>

#include "engine/explain/problem.h"

namespace actmatch {

// ROAD's filling [C, H, W]: the removed pixels solve value = weighted mean of their neighbours in the picture, direct 1/6, diagonal 1/12;
// the others stay. Where everything is removed nothing determines the values, and they are 0.
std::vector<float> impute(const std::vector<float>& image, const HardMask& removed, int64_t height, int64_t width);

}  // namespace actmatch
