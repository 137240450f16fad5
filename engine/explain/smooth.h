// Gaussian smoothing of the gradient at the mask's logits: early steps move large regions, later ones details. What lies outside counts as
// zero; sigma is in pixels, below 0.2 nothing happens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace actmatch {

class GradientSmoother {
 public:
  GradientSmoother(int64_t height, int64_t width) : H_(height), W_(width), rows_(static_cast<size_t>(height * width)) {}
  void apply(float* map, double sigma);

 private:
  int64_t H_, W_;
  std::vector<float> rows_;
};

}  // namespace actmatch
