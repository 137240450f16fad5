#include "engine/methods/fills.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

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

std::vector<float> gaussian_blur(const std::vector<float>& image, const ClassifierShape& shape, double sigma, int64_t radius,
                                 bool replicate) {
  const int64_t H = shape.height, W = shape.width, planes = static_cast<int64_t>(image.size()) / (H * W);
  std::vector<double> taps;
  double sum = 0;
  for (int64_t d = -radius; d <= radius; ++d) {
    taps.push_back(std::exp(-0.5 * static_cast<double>(d * d) / (sigma * sigma)));
    sum += taps.back();
  }
  for (double& t : taps) t /= sum;
  std::vector<double> scratch(image.size());
  std::vector<float> out(image.size());
  // Along one direction: `extent` numbers that lie `stride` apart.
  const auto along = [&](auto* to, const auto* from, int64_t extent, int64_t stride) {
    for (int64_t i = 0; i < extent; ++i) {
      double total = 0;
      for (int64_t d = -radius; d <= radius; ++d) {
        int64_t j = i + d;
        if (j < 0 || j >= extent) {
          if (!replicate) continue;
          j = std::clamp<int64_t>(j, 0, extent - 1);
        }
        total += taps[static_cast<size_t>(d + radius)] * static_cast<double>(from[j * stride]);
      }
      to[i * stride] = static_cast<std::remove_reference_t<decltype(*to)>>(total);
    }
  };
  for (int64_t p = 0; p < planes; ++p)
    for (int64_t x = 0; x < W; ++x) along(scratch.data() + p * H * W + x, image.data() + p * H * W + x, H, W);
  for (int64_t p = 0; p < planes; ++p)
    for (int64_t y = 0; y < H; ++y) along(out.data() + (p * H + y) * W, scratch.data() + (p * H + y) * W, W, int64_t{1});
  return out;
}

}  // namespace actmatch
