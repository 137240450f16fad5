// Where activations are matched. A tap is a value that every path from the image to the logits runs through (so it carries the whole
// evidence), and of those the last one at each resolution: the end of a stage.
#include <algorithm>
#include <map>

#include "engine/core/error.h"
#include "engine/explain/classifier.h"
#include "engine/explain/tap_nodes.h"
#include "engine/graph/passes.h"

namespace actmatch {

namespace {

// Values that alone are alive after their node: cutting one cuts the image from the logits.
std::vector<ValueId> cut_values(const Graph& graph, ValueId input, ValueId logits) {
  const size_t count = graph.values().size();
  std::vector<bool> live_path(count, false);
  live_path[static_cast<size_t>(input)] = true;
  std::vector<int64_t> last_use(count, -1);
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    for (ValueId v : node.inputs) {
      if (v == kNoValue || !live_path[static_cast<size_t>(v)]) continue;
      live_path[static_cast<size_t>(node.output)] = true;
      last_use[static_cast<size_t>(v)] = static_cast<int64_t>(i);
    }
  }
  std::vector<ValueId> cuts;
  std::vector<ValueId> alive{input};
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const ValueId out = graph.nodes()[i].output;
    if (!live_path[static_cast<size_t>(out)]) continue;
    alive.push_back(out);
    std::erase_if(alive, [&](ValueId v) { return v != out && last_use[static_cast<size_t>(v)] <= static_cast<int64_t>(i); });
    if (alive.size() == 1) cuts.push_back(out);
    if (out == logits) break;
  }
  return cuts;
}

}  // namespace

std::vector<ValueId> find_taps(const Graph& graph, ValueId input, ValueId logits, size_t limit) {
  const int64_t batch = graph.value(input).shape[0];
  std::vector<ValueId> maps, tokens;
  std::map<std::pair<int64_t, int64_t>, size_t> stage;  // resolution -> place in `maps`
  for (ValueId v : cut_values(graph, input, logits)) {
    const Shape& s = graph.value(v).shape;
    if (s.empty() || s[0] != batch || graph.value(v).dtype != DType::kF32) continue;
    if (s.size() == 4 && s[2] * s[3] > 1) {
      const auto [it, fresh] = stage.emplace(std::pair{s[2], s[3]}, maps.size());
      if (fresh)
        maps.push_back(v);
      else
        maps[it->second] = v;
    } else if (s.size() == 3 && s[1] > 1 && s[2] > 1) {
      tokens.push_back(v);
    }
  }
  std::vector<ValueId> taps = std::move(maps);
  if (tokens.size() > 2) {  // a transformer: its residual stream at even distances; a map in front of it is only the patch embedding
    taps.clear();
    const size_t wanted = std::min(limit, tokens.size());
    for (size_t i = 1; i <= wanted; ++i) taps.push_back(tokens[i * tokens.size() / wanted - 1]);
  }
  if (taps.size() > limit) taps.erase(taps.begin(), taps.end() - static_cast<std::ptrdiff_t>(limit));
  return taps;
}

void require_tap(const Graph& graph, ValueId value) {
  const Value& v = graph.value(value);
  if (v.kind == ValueKind::kActivation && v.dtype == DType::kF32 && (v.shape.size() == 4 || v.shape.size() == 3)) return;
  throw Error(ErrorCode::kInvalidArgument, "'" + v.name + "' (" + to_string(v.shape) +
                                               ") cannot be a tap: a tap is a feature map N,C,H,W or a row of tokens N,T,D inside the net");
}

void drop_after(Graph& graph, ValueId logits, const std::vector<ValueId>& taps) {
  graph.set_outputs({logits});
  drop_dead_nodes(graph, taps);
}

}  // namespace actmatch
