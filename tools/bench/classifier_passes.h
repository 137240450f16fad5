// A classifier's passes by themselves: forward and backward to the pictures, as a whole and by node.
#pragma once

#include <string>
#include <vector>

#include "engine/explain/classifier.h"
#include "tools/bench/clocks.h"

namespace actmatch::bench {

struct NodeProfile {
  std::string what, name, implementation;
  double forward = 0, backward = 0;  // seconds, medians of wall time
};

struct ClassifierPasses {
  Times whole;                 // median of one forward and one backward pass of the whole batch
  std::string implementation;  // how the backend repeats them
};

// The numbers that go through have the size of real ones, no more is needed. The gradients at the net's taps and at its logits are written
// before each backward pass, as in a step.
ClassifierPasses time_classifier(Backend& backend, Classifier::Training& net, const std::vector<float>& image, int rounds);
// Empty where the backend does not measure.
std::vector<NodeProfile> profile_classifier(Classifier::Training& net, int rounds);

// What does the convolutions, forward and backward each counted by itself: plans of the device's library, kernels of our own that are meant
// for the job, and kernels of our own because the library had no plan that works.
struct ConvolutionCount {
  int64_t by_plans = 0, by_kernels = 0, without_a_plan = 0;
};
ConvolutionCount count_convolutions(const std::vector<NodeProfile>& nodes);

}  // namespace actmatch::bench
