// The reference for every operator of the graph: plain loops in float or double, written from the definitions in engine/graph/op.h and
// sharing nothing with any backend. Both backends answer to it.
#pragma once

#include <map>

#include "engine/graph/graph.h"
#include "tests/oracle/conv.h"
#include "tests/oracle/elementwise.h"
#include "tests/oracle/matmul.h"
#include "tests/oracle/movement.h"
#include "tests/oracle/pool.h"
#include "tests/oracle/reduce.h"

namespace actmatch::oracle {

// The output of one operator.
template <class T>
Array<T> forward(const Attributes& attrs, const Operands<T>& inputs) {
  return std::visit([&](const auto& a) { return forward_of(a, inputs); }, attrs);
}

// The gradient of sum(y * dy) with respect to every input that has one.
template <class T>
Gradients<T> backward(const Attributes& attrs, const Operands<T>& inputs, const Array<T>& y, const Array<T>& dy) {
  return std::visit([&](const auto& a) { return backward_of(a, inputs, y, dy); }, attrs);
}

template <class T>
Array<T> from_tensor(const Tensor& t) {
  Array<T> out(t.shape());
  for (int64_t i = 0; i < out.count(); ++i) switch (t.dtype()) {
      case DType::kF32: out[i] = static_cast<T>(t.data<float>()[i]); break;
      case DType::kI64: out[i] = static_cast<T>(t.data<int64_t>()[i]); break;
      case DType::kBool: out[i] = static_cast<T>(t.data<uint8_t>()[i] != 0); break;
    }
  return out;
}

template <class T>
struct RunResult {
  std::vector<Array<T>> values;     // by value
  std::vector<Array<T>> gradients;  // by value; absent where no seed's gradient arrives
};

// Runs a whole graph in T: forward from `given` (all inputs; parameters keep their initial value unless given), then backward from the
// seeds. Throws std::logic_error when the graph claims another shape than the reference finds.
template <class T>
RunResult<T> run(const Graph& graph, const std::map<ValueId, Array<T>>& given, const std::map<ValueId, Array<T>>& seeds) {
  RunResult<T> result{std::vector<Array<T>>(graph.values().size()), std::vector<Array<T>>(graph.values().size())};
  const auto value = [&](ValueId id) -> Array<T>& { return result.values[static_cast<size_t>(id)]; };
  const auto gradient = [&](ValueId id) -> Array<T>& { return result.gradients[static_cast<size_t>(id)]; };
  for (size_t v = 0; v < graph.values().size(); ++v)
    if (graph.values()[v].constant) result.values[v] = from_tensor<T>(*graph.values()[v].constant);
  for (const auto& [id, array] : given) value(id) = array;

  const auto operands = [&](const Node& node) {
    Operands<T> in;
    for (ValueId id : node.inputs) in.push_back(id == kNoValue ? nullptr : &value(id));
    return in;
  };
  for (const Node& node : graph.nodes()) {
    value(node.output) = forward(node.attrs, operands(node));
    if (value(node.output).shape != graph.value(node.output).shape)
      throw std::logic_error("node '" + node.name + "' has shape " + to_string(graph.value(node.output).shape) + ", the reference finds " +
                             to_string(value(node.output).shape));
  }

  const auto add = [&](ValueId id, const Array<T>& d) {
    Array<T>& sum = gradient(id);
    if (!sum.present) sum = like(value(id));
    for (int64_t i = 0; i < sum.count(); ++i) sum[i] += d[i];
  };
  for (const auto& [id, seed] : seeds) add(id, seed);
  for (size_t n = graph.nodes().size(); n-- > 0;) {
    const Node& node = graph.nodes()[n];
    if (!gradient(node.output).present) continue;
    const Gradients<T> d = backward(node.attrs, operands(node), value(node.output), gradient(node.output));
    for (size_t i = 0; i < d.size(); ++i)
      if (d[i].present && graph.value(node.inputs[i]).dtype == DType::kF32) add(node.inputs[i], d[i]);
  }
  return result;
}

}  // namespace actmatch::oracle
