// Rewrites that every backend profits from. Each keeps the values of the graph's outputs (to rounding), and so it does for further
// values that are named in `keep` (taps); other values may cease to exist. Inputs and parameters always stay.
#pragma once

#include <string>
#include <vector>

#include "engine/graph/graph.h"

namespace actmatch {

// Frozen batch norm and per-channel scales: into the weights of a preceding convolution that nothing else reads, otherwise kScaleShift.
// `structure_only`: weights are shared, not scaled; for graphs that are looked at and never run.
void fold_batch_norm(Graph& graph, const std::vector<ValueId>& keep = {}, bool structure_only = false);
// Identities, casts to the same type, reshapes of reshapes, transposes of transposes, slices of slices, zero pads in front of a
// convolution, a bias added to a matrix product.
void simplify(Graph& graph, const std::vector<ValueId>& keep = {});
// A GELU that is written out becomes one operator.
void fuse_gelu(Graph& graph, const std::vector<ValueId>& keep = {});
// Nodes that neither an output nor a kept value depends on; constants that nothing reads any more give their memory back.
void drop_dead_nodes(Graph& graph, const std::vector<ValueId>& keep = {});
// All of the above, in the order in which they help each other.
void optimise(Graph& graph, const std::vector<ValueId>& keep = {}, bool structure_only = false);

}  // namespace actmatch
