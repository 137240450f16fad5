// What the convolutions of a graph cost by themselves: each as a bare oneDNN primitive in oneDNN's own choice of layouts, no reorders, no
// activations; forward in the order of the graph, then the gradient of the input in reverse order. The yardstick for a whole step.
#pragma once

#include <string>
#include <vector>

#include "engine/graph/graph.h"
#include "tools/bench/clocks.h"

namespace actmatch::bench {

struct ConvTimes {
  std::string name, implementation;
  Times forward, backward;  // medians
};

std::vector<ConvTimes> time_convolutions(const Graph& graph, int rounds, int threads);

}  // namespace actmatch::bench
