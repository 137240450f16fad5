// Fidelity of the hard mask: e = h x + (1 - h) b on four backgrounds b: does the class hold, p_y(e) / p_y(x), and KL(p(x) || p(e)) in nats.
#include <algorithm>
#include <array>
#include <cmath>

#include "engine/metrics/images.h"
#include "engine/metrics/metric.h"

namespace actmatch {

namespace {

constexpr std::array kBackgrounds = {Fill::kMean, Fill::kBlack, Fill::kWhite, Fill::kBlur};

std::vector<double> log_softmax(std::span<const float> row) {
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (float z : row) sum += std::exp(z - top);
  std::vector<double> out;
  for (float z : row) out.push_back(z - top - std::log(sum));
  return out;
}

std::vector<double> fidelity(Classifier& classifier, const MetricInput& in) {
  const Problem& problem = in.problem;
  const ClassifierShape& shape = classifier.shape();
  const auto classes = static_cast<size_t>(shape.classes), label = static_cast<size_t>(problem.label);
  const std::vector<float> logits = logits_of_images(classifier, static_cast<int64_t>(kBackgrounds.size()), [&](float* image, int64_t k) {
    blend_into(image, problem.x, in.mask, fill_image(shape, problem, kBackgrounds[static_cast<size_t>(k)]));
  });
  const std::vector<double> lx = log_softmax(problem.logits_x);
  std::vector<double> kept, ratio, divergence;
  double all = 0;
  for (size_t b = 0; b < kBackgrounds.size(); ++b) {
    const auto row = std::span(logits).subspan(b * classes, classes);
    const std::vector<double> le = log_softmax(row);
    kept.push_back(argmax(row) == problem.label ? 1.0 : 0.0);
    all += kept.back() / static_cast<double>(kBackgrounds.size());
    ratio.push_back(std::exp(le[label] - lx[label]));
    double kl = 0;
    for (size_t k = 0; k < classes; ++k) kl += std::exp(lx[k]) * (lx[k] - le[k]);
    divergence.push_back(kl);
  }
  std::vector<double> values{all};
  for (const auto* list : {&kept, &ratio, &divergence}) values.insert(values.end(), list->begin(), list->end());
  return values;
}

}  // namespace

MetricInfo fidelity_metric() {
  std::vector<Figure> figures{{"fidelity", Direction::kUp, "share", "share of the four backgrounds on which the class holds"}};
  for (Fill b : kBackgrounds)
    figures.push_back({std::string("fidelity_") + name_of(b), Direction::kUp, "share", "1 where the class holds on this background"});
  for (Fill b : kBackgrounds)
    figures.push_back({std::string("p_ratio_") + name_of(b), Direction::kUp, "ratio", "p(e) / p(x) of the class"});
  for (Fill b : kBackgrounds)
    figures.push_back({std::string("kl_") + name_of(b), Direction::kDown, "nats", "KL(p(x) || p(e)) over the classes"});
  return {"fidelity", "the class on the hard mask's pixels alone", kNeedsMask, figures, [](JsonReader&) -> Measure { return fidelity; }};
}

}  // namespace actmatch
