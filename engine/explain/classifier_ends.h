// Where the picture goes into a classifier's graph and where its scores come out.
#pragma once

#include <string>
#include <vector>

#include "engine/graph/graph.h"

namespace actmatch {

// What the graph's ends look like. Throws kUnsupported when there is no image-like input or no row of class scores, naming what there is.
struct ClassifierShape {
  std::string input_name, output_name;
  int64_t channels = 0, height = 0, width = 0, classes = 0;
  bool ends_in_softmax = false;  // a trailing softmax (or its logarithm) was recognised; losses work on its argument
};

// Where the logits and the image are in one built graph.
struct ClassifierEnds {
  ValueId input = kNoValue, logits = kNoValue;
  ClassifierShape shape;
};
ClassifierEnds find_ends(const Graph& graph);

// Exposed for inspection: automatic taps of a graph whose image input is `input` and whose logits are `logits`.
std::vector<ValueId> find_taps(const Graph& graph, ValueId input, ValueId logits, size_t limit);
}  // namespace actmatch
