// How close a run came to a kink of a piecewise function. Closer than the rounding of fp32, a float and a double run may take different
// branches and their gradients differ by design; tests of whole graphs pick inputs that stay clear.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/oracle/oracle.h"
#include "tests/support/random_arrays.h"

namespace actmatch::test {

// The smallest distance over all elements of all nodes; 0 (a tie that both runs see alike, e.g. two zeros behind a ReLU) does not count.
inline double kink_distance(const Graph& graph, const oracle::RunResult<double>& run) {
  double nearest = std::numeric_limits<double>::infinity();
  const auto see = [&](double distance) {
    if (distance != 0) nearest = std::min(nearest, std::abs(distance));
  };
  for (const Node& node : graph.nodes()) {
    const Doubles& x = run.values[static_cast<size_t>(node.inputs[0])];
    if (const auto* unary = std::get_if<UnaryAttrs>(&node.attrs)) {
      std::vector<double> kinks;
      switch (unary->kind) {
        case UnaryKind::kRelu:
        case UnaryKind::kLeakyRelu:
        case UnaryKind::kAbs:
        case UnaryKind::kElu: kinks = {0}; break;
        case UnaryKind::kClip: kinks = {unary->alpha, unary->beta}; break;
        case UnaryKind::kHardSwish: kinks = {-3, 3}; break;
        case UnaryKind::kHardSigmoid: kinks = {-unary->beta / unary->alpha, (1 - unary->beta) / unary->alpha}; break;
        default: break;
      }
      for (double k : kinks)
        for (double v : x.data) see(v - k);
    }
    if (const auto* binary = std::get_if<BinaryAttrs>(&node.attrs);
        binary && (binary->kind == BinaryKind::kMin || binary->kind == BinaryKind::kMax)) {
      const Doubles& b = run.values[static_cast<size_t>(node.inputs[1])];
      const Shape shape = oracle::broadcast(x.shape, b.shape);
      oracle::each_index(shape, [&](const oracle::Index& i) {
        see(x.at(oracle::broadcast_index(i, x.shape)) - b.at(oracle::broadcast_index(i, b.shape)));
      });
    }
    if (const auto* pool = std::get_if<PoolAttrs>(&node.attrs); pool && pool->mode == PoolMode::kMax)
      oracle::each_index(run.values[static_cast<size_t>(node.output)].shape, [&](const oracle::Index& i) {
        const double best = run.values[static_cast<size_t>(node.output)].at(i);
        for (int64_t h : oracle::window_at(*pool, 0, i[2], x.shape[2]).positions)
          for (int64_t v : oracle::window_at(*pool, 1, i[3], x.shape[3]).positions) see(best - x.at({i[0], i[1], h, v}));
      });
    if (const auto* reduce = std::get_if<ReduceAttrs>(&node.attrs);
        reduce && (reduce->kind == ReduceKind::kMin || reduce->kind == ReduceKind::kMax)) {
      Doubles y = run.values[static_cast<size_t>(node.output)];
      y.shape = oracle::reduced_shape(*reduce, x.shape);
      oracle::each_index(x.shape, [&](const oracle::Index& i) { see(x.at(i) - y.at(oracle::reduced_index(*reduce, i))); });
    }
  }
  return nearest;
}

}  // namespace actmatch::test
