// The gradient of the class's score at the picture (Simonyan, Vedaldi, Zisserman 2013): map = max over the channels of |dS/dx|.
#include "engine/methods/one_by_one.h"
#include "engine/methods/passes.h"
#include "engine/methods/registry.h"
#include "engine/methods/score_options.h"

namespace actmatch {

namespace {

struct Options {
  Score score = Score::kLogit;
  Reduce channels = Reduce::kMaxAbs;
};

class Gradient : public OneByOne {
 public:
  Gradient(Classifier& classifier, const Options& options) : OneByOne(classifier), options_(options) {}

 protected:
  SoftMap map(const Problem& problem, uint64_t, const Steps& steps) override {
    Backend& backend = classifier_.backend();
    std::vector<float> gradient(problem.x.size());
    classifier_.back_to_images(
        1, [&](float* input, int64_t, int64_t) { backend.upload(input, problem.x.data(), problem.x.size()); },
        [&](std::span<float> row, int64_t) { score_gradient(row, problem.label, options_.score); },
        [&](const float* g, int64_t, int64_t) { backend.download(gradient.data(), g, gradient.size()); });
    steps(1, 1);
    SoftMap found;
    found.logits = over_channels(gradient, problem.pixels(classifier_.shape()), options_.channels);
    found.steps = found.passes_per_step = 1;
    return found;
  }

 private:
  Options options_;
};

}  // namespace

MethodInfo gradient_method() {
  return {"gradient", "size of the class's gradient at each pixel (Simonyan et al. 2013)", true,
          [](Classifier& classifier, JsonReader& options, bool) -> std::unique_ptr<Method> {
            Options o;
            options.choice("score", o.score, kScores);
            options.choice("channels", o.channels, kReductions);
            return std::make_unique<Gradient>(classifier, o);
          }};
}

}  // namespace actmatch
