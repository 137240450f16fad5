// Sufficiency and comprehensiveness (ERASER, as used for pictures by MaRC): with k = 5, 10, .. 95 % of the pixels by the map, the softmax
// averaged over four backgrounds,
//   sufficiency       mean over k of p(x) - p(only the top k % kept)
//   comprehensiveness mean over k of p(x) - p(the top k % removed)
#include <array>
#include <cmath>

#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {

namespace {

constexpr std::array kBackgrounds = {Fill::kBlur, Fill::kBlack, Fill::kMean, Fill::kWhite};

struct Options {
  int64_t step = 5;  // percent
};

std::vector<double> sufficiency(Classifier& classifier, const MetricInput& in, const Options& options) {
  const Problem& problem = in.problem;
  const int64_t step = options.step;
  const ClassifierShape& shape = classifier.shape();
  const std::vector<int64_t> order = ranking(in.soft);
  std::vector<std::vector<float>> fills;
  for (Fill b : kBackgrounds) fills.push_back(fill_image(shape, problem, b));
  const auto shares = (99 / step);                       // step, 2 step, .. below 100
  const auto each = static_cast<int64_t>(fills.size());  // images of one k
  const auto p_of = [&](bool removed) {
    HardMask mask;
    const std::vector<float> z = logits_of_images(classifier, shares * each, [&](float* image, int64_t number) {
      if (number % each == 0) {
        const auto top =
            static_cast<size_t>(std::llround(static_cast<double>(order.size() * static_cast<size_t>((number / each + 1) * step)) / 100));
        mask.assign(order.size(), 0);
        for (size_t i = 0; i < top; ++i) mask[static_cast<size_t>(order[i])] = 1;
      }
      blend_into(image, problem.x, mask, fills[static_cast<size_t>(number % each)], removed);
    });
    double sum = 0;
    for (double p : probabilities(z, shape.classes, problem.label)) sum += p;
    return sum / static_cast<double>(shares * each);
  };
  const double p_x = probabilities(problem.logits_x, shape.classes, problem.label)[0];
  return {p_x - p_of(false), p_x - p_of(true)};
}

}  // namespace

MetricInfo sufficiency_metric() {
  return {"sufficiency",
          "p of the class with the top pixels kept, and with them removed",
          kNeedsMap,
          {{"sufficiency", Direction::kDown, "probability", "p(x) - p(top k % kept), mean over k = `step`, 2 `step`, .. below 100"},
           {"comprehensiveness", Direction::kUp, "probability", "p(x) - p(top k % removed), mean over the same k"}},
          [](JsonReader& reader) -> Measure {
            Options o;
            reader.number("step", o.step, 1, 99);
            return [o](Classifier& classifier, const MetricInput& in) { return sufficiency(classifier, in, o); };
          }};
}

}  // namespace actmatch
