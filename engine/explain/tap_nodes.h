#pragma once

#include <vector>

#include "engine/graph/graph.h"

namespace actmatch {

// The value the distances read for a tap: a feature map N,C,H,W itself; tokens N,T,D get a transposing node behind them, so that channels
// come before positions. Throws kInvalidArgument for values of another rank or without the batch in front.
ValueId tap_view(Graph& graph, ValueId value);
// Removes what neither the logits nor the taps need (a trailing softmax).
void drop_after(Graph& graph, ValueId logits, const std::vector<ValueId>& taps);

}  // namespace actmatch
