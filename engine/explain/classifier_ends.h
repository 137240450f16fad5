// Where the picture goes into a classifier's graph, where its scores come out, and what they mean.
#pragma once

#include <string>
#include <vector>

#include "engine/graph/graph.h"

namespace actmatch {

// How scores become a decision. An explanation needs a row of logits whose softmax has the probability of what is explained and whose
// largest entry is the decision; each head has one.
enum class Head : uint8_t {
  kAuto,     // as the graph ends: in a Sigmoid, in one score, or otherwise kSoftmax
  kSoftmax,  // one class of several wins: the row is the logits
  kSigmoid,  // each label is decided for itself, present where its logit z is above 0: the row is (0, z), softmax(0, z)[1] = sigmoid(z)
  kBinary,   // one score: class 1 where it is above 0, otherwise class 0; the row is (0, z)
};
const char* name_of(Head head);         // "auto", "softmax", ...
Head head_of(const std::string& name);  // throws kInvalidArgument

// What the graph's ends look like. Throws kUnsupported when there is no image-like input or no row of class scores, naming what there is.
struct ClassifierShape {
  std::string input_name, output_name;
  int64_t channels = 0, height = 0, width = 0;
  int64_t classes = 0;  // length of the row of logits
  int64_t labels = 0;   // what the model tells apart: `classes`, but for kSigmoid the number of labels
  Head head = Head::kSoftmax;
  bool ends_in_softmax = false;  // a trailing softmax (or its logarithm) was recognised; losses work on its argument
  bool ends_in_sigmoid = false;  // likewise
};

// Where the logits and the image are in one built graph.
struct ClassifierEnds {
  ValueId input = kNoValue, logits = kNoValue;
  ClassifierShape shape;
};
// `logits` are the model's own, N x labels (x 1 x 1 ...), of a kBinary head N x 1.
ClassifierEnds find_ends(const Graph& graph, Head head = Head::kAuto);
// Makes `ends.logits` the row that the head explains, N x classes, where that is not what the graph has. `label`: of a kSigmoid head.
void add_decision(Graph& graph, ClassifierEnds& ends, int64_t label);

// What a net that normalises its input itself (subtracts, divides, multiplies by constants, or normalises by batch statistics before
// anything else) takes: "raw" for 0..255, "unit" for 0..1; "" where there is nothing of the kind or it fits neither.
std::string find_own_normalisation(const Graph& graph, ValueId input);

// Exposed for inspection: automatic taps of a graph whose image input is `input` and whose logits are `logits`.
std::vector<ValueId> find_taps(const Graph& graph, ValueId input, ValueId logits, size_t limit);
}  // namespace actmatch
