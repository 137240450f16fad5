// The gradient schedule: which gradients are computed, in which order, and what has to be kept from the forward pass.
// It is computed from the graph alone and followed by every backend.
#pragma once

#include <vector>

#include "engine/graph/graph.h"

namespace actmatch {

struct GradientRequest {
  std::vector<ValueId> seeds;   // values whose gradient the caller supplies (logits, taps, the mask)
  std::vector<ValueId> wanted;  // inputs and parameters whose gradient the caller reads
};

struct BackwardStep {
  NodeId node = -1;
  std::vector<bool> wanted;      // by input position: compute this gradient
  std::vector<bool> accumulate;  // by input position: add to what is there already instead of overwriting it
};

struct GradientSchedule {
  std::vector<BackwardStep> steps;   // in execution order: consumers before producers
  std::vector<bool> has_gradient;    // by value: lies on a path from a wanted value to a seed
  std::vector<bool> seeded;          // by value
  std::vector<bool> saved;           // by value: read by some backward step
  std::vector<ValueId> unreachable;  // wanted values that no seed depends on; their gradient is zero
};

// The shape gradients take inside a step: seeds come first, then steps add to them. Throws kUnsupported when the only paths between a
// seed and a wanted value lead through an operator without a gradient.
GradientSchedule make_gradient_schedule(const Graph& graph, const GradientRequest& request);

}  // namespace actmatch
