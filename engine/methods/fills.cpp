#include "engine/methods/fills.h"

#include "engine/explain/blur.h"

namespace actmatch {

const std::map<std::string, Fill> kFills{
    {"mean", Fill::kMean}, {"black", Fill::kBlack}, {"white", Fill::kWhite}, {"blur", Fill::kBlur}, {"zero", Fill::kZero}};

const char* name_of(Fill fill) {
  for (const auto& [name, f] : kFills)
    if (f == fill) return name.c_str();
  return "?";
}

std::vector<float> fill_image(const ClassifierShape& shape, const Problem& problem, Fill fill) {
  if (fill == Fill::kBlur) {
    constexpr double kSigma = 20;
    return gaussian_blur(problem.x, shape, kSigma, static_cast<int64_t>(3 * kSigma), true);
  }
  const auto pixels = static_cast<size_t>(shape.height * shape.width);
  std::vector<float> image(problem.x.size());
  for (size_t i = 0; i < image.size(); ++i) {
    const size_t c = i / pixels;
    const kernels::BackgroundSpec& units = problem.backgrounds;
    switch (fill) {
      case Fill::kMean: image[i] = problem.colour[c]; break;
      case Fill::kBlack: image[i] = static_cast<float>(units.offset[c]); break;
      case Fill::kWhite: image[i] = static_cast<float>(255 * units.scale[c] + units.offset[c]); break;
      case Fill::kZero:
      case Fill::kBlur: image[i] = 0; break;
    }
  }
  return image;
}

}  // namespace actmatch
