// Integrated gradients (Sundararajan, Taly, Yan 2017): with b the baseline,
//   map = sum over the channels of (x - b) * integral over a in 0..1 of dS/dx at b + a (x - b),
// the integral by n points: Gauss-Legendre, or the middles of n equal parts, or the trapezoidal rule. The map sums to S(x) - S(b).
#include <cmath>
#include <numbers>

#include "engine/methods/one_by_one.h"
#include "engine/methods/passes.h"
#include "engine/methods/registry.h"
#include "engine/methods/score_options.h"

namespace actmatch {

namespace {

enum class Rule { kGaussLegendre, kMiddle, kTrapezoid };
enum class Baseline { kMean, kBlack, kZero };

struct Options {
  int64_t steps = 50;
  Rule rule = Rule::kGaussLegendre;
  Baseline baseline = Baseline::kMean;
  Score score = Score::kLogit;
  Reduce channels = Reduce::kSum;
};

struct Points {
  std::vector<double> at, weight;  // in 0..1; the weights sum to 1
};

// Nodes of the Legendre polynomial of degree n by Newton's method from Chebyshev's estimate, on 0..1.
Points gauss_legendre(int64_t n) {
  Points points;
  for (int64_t i = 0; i < n; ++i) {
    double x = std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (static_cast<double>(n) + 0.5)), slope = 1;
    for (int round = 0; round < 100; ++round) {
      double p = 1, before = 0;
      for (int64_t k = 1; k <= n; ++k) {
        const auto d = static_cast<double>(k);
        const double next = ((2 * d - 1) * x * p - (d - 1) * before) / d;
        before = p;
        p = next;
      }
      slope = static_cast<double>(n) * (x * p - before) / (x * x - 1);
      const double step = p / slope;
      x -= step;
      if (std::abs(step) < 1e-15) break;
    }
    points.at.push_back((1 - x) / 2);  // from 0 upwards
    points.weight.push_back(1 / ((1 - x * x) * slope * slope));
  }
  return points;
}

Points points_of(Rule rule, int64_t n) {
  if (rule == Rule::kGaussLegendre) return gauss_legendre(n);
  Points points;
  const auto count = static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) {
    const auto k = static_cast<double>(i);
    if (rule == Rule::kMiddle || n == 1) {
      points.at.push_back((k + 0.5) / count);
      points.weight.push_back(1 / count);
    } else {
      points.at.push_back(k / (count - 1));
      points.weight.push_back((i == 0 || i == n - 1 ? 0.5 : 1.0) / (count - 1));
    }
  }
  return points;
}

class IntegratedGradients : public OneByOne {
 public:
  IntegratedGradients(Classifier& classifier, const Options& options)
      : OneByOne(classifier), options_(options), points_(points_of(options.rule, options.steps)) {}

 protected:
  SoftMap map(const Problem& problem, uint64_t, const Steps& steps) override {
    const std::vector<float>& x = problem.x;
    const auto pixels = static_cast<size_t>(problem.pixels(classifier_.shape()));
    std::vector<double> base(problem.colour.begin(), problem.colour.end());
    for (size_t c = 0; c < base.size(); ++c)
      base[c] = options_.baseline == Baseline::kZero    ? 0.0
                : options_.baseline == Baseline::kBlack ? problem.backgrounds.offset[c]
                                                        : base[c];
    const std::vector<double> sum = summed_gradients(
        classifier_, problem, options_.score, options_.steps,
        [&](float* image, int64_t n) {
          for (size_t i = 0; i < x.size(); ++i) {
            const double b = base[i / pixels];
            image[i] = static_cast<float>(b + points_.at[static_cast<size_t>(n)] * (x[i] - b));
          }
        },
        [&](int64_t n) { return points_.weight[static_cast<size_t>(n)]; }, [&](int64_t through) { steps(through, options_.steps); });
    std::vector<float> attribution(x.size());
    for (size_t i = 0; i < x.size(); ++i) attribution[i] = static_cast<float>(sum[i] * (x[i] - base[i / pixels]));
    SoftMap found;
    found.logits = over_channels(attribution, static_cast<int64_t>(pixels), options_.channels);
    found.steps = options_.steps;
    found.passes_per_step = 1;
    return found;
  }

 private:
  Options options_;
  Points points_;
};

}  // namespace

MethodInfo integrated_gradients_method() {
  return {"integrated-gradients", "gradients along the way from a baseline to the picture (Sundararajan et al. 2017)", true,
          [](Classifier& classifier, JsonReader& options, bool) -> std::unique_ptr<Method> {
            Options o;
            options.number("steps", o.steps, 1, 1000000);
            options.choice("rule", o.rule,
                           {{"gauss-legendre", Rule::kGaussLegendre}, {"middle", Rule::kMiddle}, {"trapezoid", Rule::kTrapezoid}});
            // The mean colour b0; black pixels; 0 in network units.
            options.choice("baseline", o.baseline, {{"mean", Baseline::kMean}, {"black", Baseline::kBlack}, {"zero", Baseline::kZero}});
            options.choice("score", o.score, kScores);
            options.choice("channels", o.channels, kReductions);
            return std::make_unique<IntegratedGradients>(classifier, o);
          }};
}

}  // namespace actmatch
