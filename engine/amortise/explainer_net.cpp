#include "engine/amortise/explainer_net.h"

#include "engine/core/error.h"

namespace actmatch {

ExplainerNet::ExplainerNet(Classifier& classifier, const TrainedExplainer& explainer)
    : backend_(classifier.backend()), graph_(explainer.graph(1)) {
  const ClassifierShape& s = classifier.shape();
  const Shape picture{1, s.channels, s.height, s.width}, map{1, 1, s.height, s.width};
  const bool one_each = graph_.inputs().size() == 1 && graph_.outputs().size() == 1;
  if (!one_each || graph_.value(graph_.inputs()[0]).shape != picture || graph_.value(graph_.outputs()[0]).shape != map)
    throw Error(ErrorCode::kInvalidArgument, "'" + explainer.path + "' is no explainer for pictures of " + to_string(picture) +
                                                 ", which the classifier takes" +
                                                 (one_each ? ": it takes " + to_string(graph_.value(graph_.inputs()[0]).shape) +
                                                                 " and gives " + to_string(graph_.value(graph_.outputs()[0]).shape)
                                                           : ""));
  program_ = backend_.compile(graph_, {});
}

std::vector<float> ExplainerNet::logits(const std::vector<float>& x) {
  backend_.upload(program_->data(graph_.inputs()[0]), x.data(), x.size());
  program_->forward();
  std::vector<float> map(static_cast<size_t>(element_count(graph_.value(graph_.outputs()[0]).shape)));
  backend_.download(map.data(), program_->data(graph_.outputs()[0]), map.size());
  return map;
}

size_t ExplainerNet::memory_bytes() const {
  const MemoryReport r = program_->memory();
  return r.arena_bytes + r.weight_bytes + r.exposed_bytes;
}

}  // namespace actmatch
