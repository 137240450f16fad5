// A trained explainer at work: a picture in, the mask's logits out, in one forward pass.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/explain/classifier.h"
#include "engine/graph/graph.h"

namespace actmatch {

// What opening a file has shown to be an explainer of the classifier at hand.
struct TrainedExplainer {
  std::string path;                           // of its file
  std::function<Graph(int64_t batch)> graph;  // one input [batch, C, H, W] in network units, one output [batch, 1, H, W]
};
// Opens the file for the classifier at hand. The importer's side supplies it: the engine reads no files of models. Throws kNotFound,
// kFormat (no explainer), kInvalidArgument (another classifier's).
using ExplainerOpener = std::function<TrainedExplainer(const std::string& path)>;

class ExplainerNet {
 public:
  // Throws kInvalidArgument where the explainer's sizes are not the classifier's.
  ExplainerNet(Classifier& classifier, const TrainedExplainer& explainer);
  std::vector<float> logits(const std::vector<float>& x);  // picture [C, H, W] -> [H, W]
  size_t memory_bytes() const;

 private:
  Backend& backend_;
  Graph graph_;
  std::unique_ptr<Program> program_;
};

}  // namespace actmatch
