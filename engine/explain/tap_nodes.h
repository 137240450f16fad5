#pragma once

#include <vector>

#include "engine/graph/graph.h"

namespace actmatch {

// Throws kInvalidArgument for a value that is neither a feature map N,C,H,W nor tokens N,T,D.
void require_tap(const Graph& graph, ValueId value);
// Removes what neither the logits nor the taps need (a trailing softmax).
void drop_after(Graph& graph, ValueId logits, const std::vector<ValueId>& taps);

}  // namespace actmatch
