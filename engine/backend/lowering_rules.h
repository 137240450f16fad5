// What every backend has to know when it lowers an operator: which ones none of them runs, and which elements belong together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/graph/graph.h"

namespace actmatch {

// Why a backend cannot run the node; empty: this is no reason against it.
std::string no_reason(const Graph& graph, const Node& node);
std::string floats_only(const Graph& graph, const Node& node);
std::string batch_norm_unsupported(const Graph& graph, const Node& node);
// On devices, where integers are only moved: their arithmetic, and what it is for, stay with the CPU.
std::string gather_unsupported(const Graph& graph, const Node& node);
std::string unary_unsupported(const Graph& graph, const Node& node);
std::string binary_unsupported(const Graph& graph, const Node& node);
std::string order_unsupported(const Graph& graph, const Node& node);

// Matrix number i of a product whose leading axes are `batch`, counted in an operand of shape `x` that broadcasts to them.
int64_t operand_matrix(const Shape& batch, const Shape& x, int64_t i);

// A gather along an axis moves runs of `inner` elements: run number source[i] of x becomes run i of the result.
// Throws kInvalidArgument for an index outside the axis.
struct GatheredRuns {
  std::vector<int64_t> source;
  int64_t inner = 1;
};
GatheredRuns gathered_runs(const Node& node, const Shape& x, const Tensor& indices);

// The element of an axis that a padded place shows; -1: the fill value.
int64_t padded_source(int64_t i, int64_t extent, PadMode mode);

}  // namespace actmatch
