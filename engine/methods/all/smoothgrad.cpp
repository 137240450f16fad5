// SmoothGrad (Smilkov et al. 2017): the mean of the gradients at n noisy copies of the picture, x + N(0, (noise (max x - min x))^2), then
// the sum over the channels of its absolute values. Noise: field 1 of the stream kMethod, draw = the copy's number, index as in the
// picture.
#include <algorithm>

#include "engine/methods/one_by_one.h"
#include "engine/methods/passes.h"
#include "engine/methods/registry.h"
#include "engine/methods/score_options.h"
#include "kernels/philox.h"

namespace actmatch {

namespace {

struct Options {
  int64_t samples = 50;
  double noise = 0.15;  // standard deviation over the range of the picture's values
  Score score = Score::kLogit;
  Reduce channels = Reduce::kSumAbs;
};

class SmoothGrad : public OneByOne {
 public:
  SmoothGrad(Classifier& classifier, const Options& options) : OneByOne(classifier), options_(options) {}

 protected:
  SoftMap map(const Problem& problem, uint64_t seed, const Steps& steps) override {
    const std::vector<float>& x = problem.x;
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    const double sigma = options_.noise * (static_cast<double>(*high) - *low);
    const std::vector<double> sum = summed_gradients(
        classifier_, problem, options_.score, options_.samples,
        [&](float* image, int64_t n) {
          for (size_t i = 0; i < x.size(); i += 4) {
            const auto noise = kernels::normal_block(kernels::random_block(seed, kernels::RandomStream::kMethod, 1, problem.image_index,
                                                                           static_cast<uint32_t>(n), static_cast<uint32_t>(i / 4)));
            for (size_t k = 0; k < 4 && i + k < x.size(); ++k) image[i + k] = static_cast<float>(x[i + k] + sigma * noise.value[k]);
          }
        },
        [](int64_t) { return 1.0; }, [&](int64_t through) { steps(through, options_.samples); });
    std::vector<float> mean(x.size());
    for (size_t i = 0; i < mean.size(); ++i) mean[i] = static_cast<float>(sum[i] / static_cast<double>(options_.samples));
    SoftMap found;
    found.logits = over_channels(mean, problem.pixels(classifier_.shape()), options_.channels);
    found.steps = options_.samples;
    found.passes_per_step = 1;
    return found;
  }

 private:
  Options options_;
};

}  // namespace

MethodInfo smoothgrad_method() {
  return {"smoothgrad", "the class's gradient, averaged over noisy copies (Smilkov et al. 2017)", true,
          [](Classifier& classifier, JsonReader& options, bool) -> std::unique_ptr<Method> {
            Options o;
            options.number("samples", o.samples, 1, 1000000);
            options.number("noise", o.noise, 0, 1000);
            options.choice("score", o.score, kScores);
            options.choice("channels", o.channels, kReductions);
            return std::make_unique<SmoothGrad>(classifier, o);
          }};
}

}  // namespace actmatch
