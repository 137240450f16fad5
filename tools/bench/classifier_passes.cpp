#include "tools/bench/classifier_passes.h"

#include <algorithm>

#include "engine/backend/kernels.h"

namespace actmatch::bench {

namespace {

// Devices that work by themselves are timed over several passes, so that starting them does not count.
constexpr int kReplays = 8;

}  // namespace

ClassifierPasses time_classifier(Backend& backend, Classifier::Training& net, const std::vector<float>& image, int rounds) {
  Program& program = *net.program;
  const Shape& shape = net.graph.value(net.ends.input).shape;
  for (int64_t n = 0; n < shape[0]; ++n)  // in whatever order the channels lie: these are only numbers
    backend.upload(program.data(net.ends.input) + n * static_cast<int64_t>(image.size()), image.data(), image.size());
  const auto seed = [&] {
    for (ValueId tap : net.taps) backend.kernels().fill(program.gradient(tap), 1e-4f, element_count(net.graph.value(tap).shape));
    backend.kernels().fill(program.gradient(net.ends.logits), 1e-2f, element_count(net.graph.value(net.ends.logits).shape));
  };

  ClassifierPasses passes;
  const auto both = backend.record([&] { program.forward(), seed(), program.backward(); });
  passes.implementation = both->implementation();
  const int replays = backend.name() == "cpu" ? 1 : kReplays;
  both->replay();
  backend.synchronize();
  std::vector<Times> total;
  for (int round = 0; round < rounds; ++round) {
    const Times start = now();
    for (int i = 0; i < replays; ++i) both->replay();
    backend.synchronize();
    const Times t = now() - start;
    total.push_back({t.wall / replays, t.cpu / replays});
  }
  passes.whole = median(total);
  return passes;
}

std::vector<NodeProfile> profile_classifier(Classifier::Training& net, int rounds) {
  Program& program = *net.program;
  std::vector<NodeProfile> nodes;
  std::vector<std::vector<double>> forward, backward;
  program.enable_profiling(true);
  for (int round = 0; round < rounds; ++round) {
    program.forward(), program.backward();
    const auto times = program.profile();
    if (times.empty()) break;
    if (nodes.empty()) {
      nodes.resize(times.size()), forward.resize(times.size()), backward.resize(times.size());
      for (size_t i = 0; i < times.size(); ++i) {
        const Node& node = net.graph.node(times[i].node);
        const std::string& implementation = times[i].implementation;
        const bool copy = implementation == "reorder" || implementation == "conversion" || implementation == "wanted" ||
                          implementation.starts_with("seed");
        nodes[i] = {copy ? implementation : name_of(node.op()), node.name, implementation, 0, 0};
      }
    }
    for (size_t i = 0; i < times.size(); ++i) {
      forward[i].push_back(times[i].forward_seconds);
      backward[i].push_back(times[i].backward_seconds);
    }
  }
  program.enable_profiling(false);
  for (size_t i = 0; i < nodes.size(); ++i) nodes[i].forward = median(forward[i]), nodes[i].backward = median(backward[i]);
  return nodes;
}

ConvolutionCount count_convolutions(const std::vector<NodeProfile>& nodes) {
  ConvolutionCount count;
  for (const NodeProfile& n : nodes) {
    if (n.what != name_of(OpKind::kConv) && n.what != name_of(OpKind::kConvTranspose)) continue;
    // "cuDNN engine 5 {2=25} | kernel": forward, then what is differentiated.
    for (size_t begin = 0, end; begin < n.implementation.size(); begin = end + 3) {
      end = std::min(n.implementation.find(" | ", begin), n.implementation.size());
      const std::string part = n.implementation.substr(begin, end - begin);
      ++(part.starts_with("cuDNN")                          ? count.by_plans
         : part.find("lack of a plan") != std::string::npos ? count.without_a_plan
                                                            : count.by_kernels);
    }
  }
  return count;
}

}  // namespace actmatch::bench
