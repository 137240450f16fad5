// The classifier's part of a step by itself: forward and backward to the pictures, as a whole and by node.
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
  Times whole;                     // median of one forward and one backward pass of the whole batch
  std::string implementation;      // how the backend repeats them
  std::vector<NodeProfile> nodes;  // empty where the backend does not measure
};

// The numbers that go through have the size of real ones, no more is needed.
ClassifierPasses time_classifier(Backend& backend, Classifier::Training& net, const std::vector<float>& image, int rounds);

}  // namespace actmatch::bench
