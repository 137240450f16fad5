#include "engine/graph/gradient.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/graph/op_table.h"

namespace actmatch {
namespace {

constexpr size_t kMaskBits = 32;

size_t index_of(ValueId id) { return static_cast<size_t>(id); }

// Whether a gradient may flow from the node's output to input i.
bool passes_gradient(const Graph& graph, const Node& node, size_t i) {
  const ValueId id = node.inputs[i];
  if (id == kNoValue || graph.value(id).dtype != DType::kF32 || graph.is_constant(id)) return false;
  return op_info(node.op()).differentiable(node.attrs) >> std::min(i, kMaskBits - 1) & 1;
}

void check_request(const Graph& graph, const std::vector<ValueId>& ids, const char* role) {
  for (ValueId id : ids) {
    if (id < 0 || index_of(id) >= graph.values().size())
      throw Error(ErrorCode::kInvalidArgument, std::string("gradient ") + role + " " + std::to_string(id) + " is not a value of the graph");
    const Value& v = graph.value(id);
    if (v.dtype != DType::kF32 || v.kind == ValueKind::kConstant)
      throw Error(ErrorCode::kInvalidArgument, std::string("gradient ") + role + " '" + v.name + "' (" + name_of(v.dtype) + " " +
                                                   to_string(v.shape) + ") must be float32 and not a constant");
  }
}

// Values from which `ids` can be reached: through every input, or only where gradients pass.
std::vector<bool> ancestors(const Graph& graph, const std::vector<ValueId>& ids, bool differentiably) {
  std::vector<bool> marked(graph.values().size());
  for (ValueId id : ids) marked[index_of(id)] = true;
  for (size_t n = graph.nodes().size(); n-- > 0;) {
    const Node& node = graph.nodes()[n];
    if (!marked[index_of(node.output)]) continue;
    for (size_t i = 0; i < node.inputs.size(); ++i)
      if (node.inputs[i] != kNoValue && (!differentiably || passes_gradient(graph, node, i))) marked[index_of(node.inputs[i])] = true;
  }
  return marked;
}

// Values that can be reached from `ids`, likewise.
std::vector<bool> descendants(const Graph& graph, const std::vector<ValueId>& ids, bool differentiably) {
  std::vector<bool> marked(graph.values().size());
  for (ValueId id : ids) marked[index_of(id)] = true;
  for (const Node& node : graph.nodes())
    for (size_t i = 0; i < node.inputs.size(); ++i)
      if (node.inputs[i] != kNoValue && marked[index_of(node.inputs[i])] && (!differentiably || passes_gradient(graph, node, i)))
        marked[index_of(node.output)] = true;
  return marked;
}

// `wanted` influences a seed, yet no gradient arrives: names the operator that stops it.
[[noreturn]] void throw_blocked(const Graph& graph, ValueId wanted, const std::vector<bool>& has_path_to_seed) {
  const std::vector<bool> influenced = descendants(graph, {wanted}, false);
  std::string by;
  for (const Node& node : graph.nodes()) {
    if (!has_path_to_seed[index_of(node.output)]) continue;
    for (size_t i = 0; i < node.inputs.size() && by.empty(); ++i)
      if (node.inputs[i] != kNoValue && influenced[index_of(node.inputs[i])] && !passes_gradient(graph, node, i)) {
        const auto* unary = std::get_if<UnaryAttrs>(&node.attrs);
        const auto* binary = std::get_if<BinaryAttrs>(&node.attrs);
        const char* op = unary ? name_of(unary->kind) : binary ? name_of(binary->kind) : name_of(node.op());
        by = "node '" + node.name + "' (" + op + ") with respect to its input " + std::to_string(i);
      }
  }
  throw Error(ErrorCode::kUnsupported, "no gradient reaches '" + graph.value(wanted).name + "': there is none for " + by +
                                           "; choose other outputs or layers to match");
}

}  // namespace

GradientSchedule make_gradient_schedule(const Graph& graph, const GradientRequest& request) {
  check_request(graph, request.seeds, "seed");
  check_request(graph, request.wanted, "target");
  const size_t count = graph.values().size();
  GradientSchedule schedule{{}, std::vector<bool>(count), std::vector<bool>(count), std::vector<bool>(count), {}};
  for (ValueId id : request.seeds) schedule.seeded[index_of(id)] = true;

  const std::vector<bool> to_seed = ancestors(graph, request.seeds, true);
  const std::vector<bool> from_wanted = descendants(graph, request.wanted, true);
  for (size_t v = 0; v < count; ++v) schedule.has_gradient[v] = to_seed[v] && from_wanted[v];

  const std::vector<bool> influences_seed = ancestors(graph, request.seeds, false);
  for (ValueId id : request.wanted) {
    if (to_seed[index_of(id)]) continue;
    if (influences_seed[index_of(id)]) throw_blocked(graph, id, to_seed);
    schedule.unreachable.push_back(id);
  }

  std::vector<bool> written = schedule.seeded;
  for (size_t n = graph.nodes().size(); n-- > 0;) {
    const Node& node = graph.nodes()[n];
    if (!schedule.has_gradient[index_of(node.output)]) continue;
    const size_t inputs = node.inputs.size();
    BackwardStep step{static_cast<NodeId>(n), std::vector<bool>(inputs), std::vector<bool>(inputs)};
    bool any = false;
    for (size_t i = 0; i < inputs; ++i) {
      if (!passes_gradient(graph, node, i) || !from_wanted[index_of(node.inputs[i])]) continue;
      const size_t v = index_of(node.inputs[i]);
      step.wanted[i] = any = true;
      step.accumulate[i] = written[v];
      written[v] = true;
    }
    if (!any) continue;
    const BackwardNeeds needs = op_info(node.op()).needs(node.attrs, step.wanted);
    for (size_t i = 0; i < inputs; ++i)
      if (needs.inputs[i] && node.inputs[i] != kNoValue) schedule.saved[index_of(node.inputs[i])] = true;
    if (needs.output) schedule.saved[index_of(node.output)] = true;
    schedule.steps.push_back(std::move(step));
  }
  return schedule;
}

}  // namespace actmatch
