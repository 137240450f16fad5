// What methods and metrics put in the place of pixels. In network units; the names are those of recipes:
//   "mean" the problem's baseline colour b0, "black" and "white" pixels of 0 and 255, "zero" 0 in network units, "blur" the picture under a
//   Gaussian of sigma 20 pixels
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/explain/problem.h"

namespace actmatch {

enum class Fill { kMean, kBlack, kWhite, kBlur, kZero };
extern const std::map<std::string, Fill> kFills;
const char* name_of(Fill fill);
// The replacement as an image [C, H, W].
std::vector<float> fill_image(const ClassifierShape& shape, const Problem& problem, Fill fill);

}  // namespace actmatch
