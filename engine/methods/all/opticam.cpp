// Opti-CAM (Zhang et al. 2024): weights u of the channels of one layer, A [K, h, w], sought so that the class's score on the masked picture
// is the largest:
//   S = up(sum over k of softmax(u)_k A_k),  m = (S - min S) / (max S - min S),  maximise z_y(m x + (1 - m) b0)
// by Adam, from u = 0; `up` is bilinear. The gradient passes through the minimum and the maximum too.
#include <algorithm>
#include <cmath>

#include "engine/backend/kernels.h"
#include "engine/methods/one_by_one.h"
#include "engine/methods/passes.h"
#include "engine/methods/registry.h"
#include "engine/methods/score_options.h"
#include "kernels/adam.h"
#include "kernels/upsample.h"

namespace actmatch {

namespace {

struct Options {
  int64_t steps = 100;
  double learning_rate = 0.1;
  std::string layer;  // empty: the last one that tells places apart
  Score score = Score::kLogit;
};

class OptiCam : public OneByOne {
 public:
  OptiCam(Classifier& classifier, Options options) : OneByOne(classifier), options_(std::move(options)) {}

 protected:
  SoftMap map(const Problem& problem, uint64_t, const Steps& steps) override {
    const ClassifierShape& shape = classifier_.shape();
    Backend& backend = classifier_.backend();
    const int64_t H = shape.height, W = shape.width, pixels = H * W;
    const Layer layer = find_layer(classifier_, problem, options_.layer);
    const auto channels = static_cast<size_t>(layer.channels), places = static_cast<size_t>(layer.height * layer.width);
    const DeviceBuffer x(backend, problem.x), colour(backend, problem.colour), mask(backend, pixels), d_mask(backend, pixels);
    const std::vector<Kernels::Pass> passes{{false, kernels::BackgroundLayout::kColour, mask.data(), colour.data()}};

    std::vector<float> u(channels, 0.0f), first(channels, 0.0f), second(channels, 0.0f), large(static_cast<size_t>(pixels));
    SoftMap found;
    found.losses = {{"score", {}}, {"total", {}}};
    kernels::AdamOptions adam;
    adam.learning_rate = options_.learning_rate;
    for (int64_t step = 1; step <= options_.steps + 1; ++step) {
      const std::vector<float> share = softmax(u);
      std::vector<double> cam(places, 0.0);
      for (size_t k = 0; k < channels; ++k)
        for (size_t i = 0; i < places; ++i) cam[i] += static_cast<double>(share[k]) * layer.activation[k * places + i];
      const std::vector<float> small(cam.begin(), cam.end());
      kernels::resize_bilinear_ref(large.data(), small.data(), 1, layer.height, layer.width, H, W);
      found.soft = stretched(large);
      if (step > options_.steps) break;  // the map after the last step

      backend.upload(mask.data(), found.soft.data(), found.soft.size());
      classifier_.back_to_images(
          1,
          [&](float* input, int64_t, int64_t) {
            backend.kernels().compose(input, x.data(), passes, kernels::ChannelOrder::kFirst, 1, shape.channels, pixels);
          },
          [&](std::span<float> row, int64_t) {
            const auto y = static_cast<size_t>(problem.label);
            const float score = options_.score == Score::kLogit ? row[y] : softmax(row)[y];
            found.losses[0].values.push_back(score);
            found.losses[1].values.push_back(-score);
            score_gradient(row, problem.label, options_.score);
          },
          [&](const float* gradient, int64_t, int64_t) {
            backend.kernels().compose_backward(d_mask.data(), gradient, x.data(), passes, kernels::ChannelOrder::kFirst, 1, shape.channels,
                                               pixels, false);
          });
      steps(step, options_.steps, &found.losses);
      // Back through the stretching: m = (S - low) / range.
      const std::vector<float> dm = d_mask.download();
      const auto low = std::min_element(large.begin(), large.end()), high = std::max_element(large.begin(), large.end());
      const double range = static_cast<double>(*high) - *low;
      if (!(range > 0)) break;  // a layer that is equal everywhere has nothing to say, whatever the weights
      double at_low = 0, at_high = 0;
      std::vector<float> ds(large.size());
      for (size_t i = 0; i < ds.size(); ++i) {
        ds[i] = static_cast<float>(-dm[i] / range);  // of the loss, which is the score's negative
        at_low -= -dm[i] / range * (1.0 - found.soft[i]);
        at_high -= -dm[i] / range * found.soft[i];
      }
      ds[static_cast<size_t>(low - large.begin())] += static_cast<float>(at_low);
      ds[static_cast<size_t>(high - large.begin())] += static_cast<float>(at_high);
      std::vector<float> d_small(places);
      kernels::resize_bilinear_backward_ref(d_small.data(), ds.data(), 1, layer.height, layer.width, H, W, false);
      std::vector<double> d_share(channels, 0.0);
      double mean = 0;
      for (size_t k = 0; k < channels; ++k) {
        for (size_t i = 0; i < places; ++i) d_share[k] += static_cast<double>(d_small[i]) * layer.activation[k * places + i];
        mean += share[k] * d_share[k];
      }
      std::vector<float> du(channels);
      for (size_t k = 0; k < channels; ++k) du[k] = static_cast<float>(share[k] * (d_share[k] - mean));
      kernels::adam_ref(u.data(), first.data(), second.data(), du.data(), static_cast<int64_t>(channels), adam, step, 1.0f);
      found.steps = step;
    }
    found.logits = large;
    found.passes_per_step = 1;
    return found;
  }

 private:
  Options options_;
};

}  // namespace

MethodInfo opticam_method() {
  return {"opticam", "a layer's channels, weighed so that the class's score under the map is the largest (Zhang et al. 2024)", false,
          [](Classifier& classifier, JsonReader& options, bool) -> std::unique_ptr<Method> {
            Options o;
            options.number("steps", o.steps, 1, 1000000);
            options.number("learning_rate", o.learning_rate, 0, 1e6);
            options.text("layer", o.layer);
            options.choice("score", o.score, kScores);
            return std::make_unique<OptiCam>(classifier, o);
          }};
}

}  // namespace actmatch
