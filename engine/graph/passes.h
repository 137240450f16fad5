// Rewrites that every backend profits from. Each keeps the values of the graph's outputs (to rounding).
#pragma once

#include <string>
#include <vector>

#include "engine/graph/graph.h"

namespace actmatch {

// Frozen batch norm and per-channel scales: into the weights of a preceding convolution that nothing else reads, otherwise kScaleShift.
void fold_batch_norm(Graph& graph);
// Identities, casts to the same type, reshapes of reshapes, pads in front of a convolution.
void simplify(Graph& graph);
// Nodes that no output depends on. `keep`: further values that must stay (taps).
void drop_dead_nodes(Graph& graph, const std::vector<ValueId>& keep = {});
// All of the above, in order.
void optimise(Graph& graph, const std::vector<ValueId>& keep = {});

}  // namespace actmatch
