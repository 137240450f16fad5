// Many images through the classifier at once, for methods and metrics: forward, and the gradient of a score back to the images.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/explain/classifier.h"
#include "engine/explain/device_buffer.h"
#include "engine/explain/problem.h"

namespace actmatch {

enum class Score { kLogit, kProbability };
// Logits of one image become d score / d logits: e_y, or p_y (e_y - p).
void score_gradient(std::span<float> row, int32_t label, Score score);

// sum_i weight(i) * d score / d image_i [C, H, W] over n images, in double; `make` writes image i. `done` hears how many are through.
std::vector<double> summed_gradients(Classifier& classifier, const Problem& problem, Score score, int64_t n,
                                     const std::function<void(float* image, int64_t i)>& make,
                                     const std::function<double(int64_t i)>& weight, const std::function<void(int64_t through)>& done);

// Logits [n, classes] of pictures under soft masks: m*x + (1-m)*b. `masks(out, first, count)` writes masks [count, H, W], host memory.
// `background` [C] is a colour.
std::vector<float> masked_logits(Classifier& classifier, const std::vector<float>& x, const std::vector<float>& background, int64_t n,
                                 const std::function<void(float* out, int64_t first, int64_t count)>& masks);

// The layer whose activations say what is where: a feature map [K, h, w] of the picture, tokens without those that stand for no place.
struct Layer {
  std::string name;
  int64_t channels = 0, height = 0, width = 0;
  std::vector<float> activation;  // [K, h, w] of the picture
  std::vector<float> gradient;    // [K, h, w] of the logit of the class
};
// `name`: empty for the last one that tells places apart: the deepest feature map, or the deepest tokens that the class still looks at.
// Throws kInvalidArgument for a layer that is not laid out in the plane. Runs the picture once, forward and back.
Layer find_layer(Classifier& classifier, const Problem& problem, const std::string& name);

// [C, H, W] -> [H, W].
enum class Reduce { kSum, kSumAbs, kMaxAbs };
std::vector<float> over_channels(const std::vector<float>& image, int64_t pixels, Reduce how);

}  // namespace actmatch
