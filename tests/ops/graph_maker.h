// Building graphs by hand, with random weights scaled so that activations keep their size.
#pragma once

#include <cmath>
#include <string>

#include "tests/ops/op_check.h"
#include "tests/support/kinks.h"

namespace actmatch::test {

class GraphMaker {
 public:
  explicit GraphMaker(uint64_t seed, Leaf weights = Leaf::kConstant) : random_(seed), weights_(weights) {}
  Graph graph;
  CompileOptions options;
  Arrays inputs, seeds;

  RandomArrays& random() { return random_; }
  const Shape& shape(ValueId id) const { return graph.value(id).shape; }
  ValueId input(const Doubles& values) {
    const ValueId id = graph.add_input(name("input"), DType::kF32, values.shape);
    inputs[id] = values;
    options.gradients.wanted.push_back(id);
    return id;
  }
  ValueId weight(Shape shape, double size) {
    const Tensor t = to_tensor(random_.uniform(std::move(shape), -size, size));
    if (weights_ == Leaf::kConstant) return graph.add_constant(name("constant"), t);
    const ValueId id = graph.add_parameter(name("parameter"), t);
    options.gradients.wanted.push_back(id);
    return id;
  }
  ValueId add(const Attributes& attrs, std::vector<ValueId> in) { return graph.add_node(name("node"), attrs, std::move(in)); }
  // Square kernel; `pad` on all sides.
  ValueId conv(ValueId x, int64_t filters, int64_t kernel, int64_t stride, int64_t pad, int64_t groups = 1) {
    const int64_t channels = shape(x)[1] / groups;
    // The uniform distribution on [-a, a] has variance a^2 / 3; 2 / fan keeps the variance through a ReLU.
    const double size = std::sqrt(6.0 / static_cast<double>(channels * kernel * kernel));
    return add(ConvAttrs{{stride, stride}, {pad, pad, pad, pad}, {1, 1}, groups},
               {x, weight({filters, channels, kernel, kernel}, size), weight({filters}, 0.1)});
  }
  ValueId unary(UnaryKind kind, ValueId x, float alpha = 0, float beta = 0) { return add(UnaryAttrs{kind, alpha, beta}, {x}); }
  ValueId relu(ValueId x) { return unary(UnaryKind::kRelu, x); }
  ValueId binary(BinaryKind kind, ValueId a, ValueId b) { return add(BinaryAttrs{kind}, {a, b}); }
  ValueId sum(ValueId a, ValueId b) { return binary(BinaryKind::kAdd, a, b); }
  ValueId linear(ValueId x, int64_t outputs, bool bias = true) {
    const int64_t in = shape(x).back();
    if (!bias) return add(MatMulAttrs{false, true}, {x, weight({outputs, in}, std::sqrt(3.0 / static_cast<double>(in)))});
    return add(MatMulAttrs{false, true}, {x, weight({outputs, in}, std::sqrt(3.0 / static_cast<double>(in))), weight({outputs}, 0.1)});
  }
  ValueId flat(ValueId x) { return add(ReshapeAttrs{{shape(x)[0], element_count(shape(x)) / shape(x)[0]}}, {x}); }
  ValueId global_mean(ValueId x) { return add(ReduceAttrs{ReduceKind::kMean, {2, 3}, true}, {x}); }
  // A value whose gradient the test supplies.
  void seed(ValueId id) {
    options.gradients.seeds.push_back(id);
    seeds[id] = random_.uniform(shape(id));
  }
  void output(ValueId id) {
    graph.mark_output(id);
    seed(id);
  }

  // Everything the caller sees is taken in place where that can be.
  void take_in_place() {
    for (const std::vector<ValueId>& list : {graph.inputs(), graph.outputs(), options.exposed, options.gradients.seeds})
      options.in_place.insert(options.in_place.end(), list.begin(), list.end());
  }

  double distance_to_kinks() const { return kink_distance(graph, oracle::run<double>(graph, inputs, {})); }
  void check(Tolerance forward, Tolerance backward) {
    expect_like_oracle(tested_backend(), graph, options, inputs, seeds, forward, backward);
  }

 private:
  std::string name(const char* what) { return std::string(what) + std::to_string(count_++); }
  RandomArrays random_;
  Leaf weights_;
  int count_ = 0;
};

// Makes the graph with seeds first, first + 1, ... until one keeps every activation at least 1e-5 away from a kink: ten times what fp32
// rounding moves activations of size 1 to 10 in nets this small.
template <class Make>
GraphMaker clear_of_kinks(uint64_t first, Leaf weights, const Make& make) {
  for (uint64_t seed = first; seed < first + 50; ++seed) {
    GraphMaker g(seed, weights);
    make(g);
    if (g.distance_to_kinks() > 1e-5) return g;
  }
  throw std::runtime_error("no seed keeps clear of the kinks");
}

}  // namespace actmatch::test
