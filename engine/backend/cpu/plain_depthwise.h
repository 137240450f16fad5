// What this backend rewrites in a graph before it compiles it.
#pragma once

#include "engine/graph/graph.h"

namespace actmatch::cpu {

// Convolutions that make several outputs of each channel alone (as many groups as channels, but more outputs) go through slow general code
// in oneDNN. Behind a copy of each channel for each of its outputs they are depthwise convolutions with the same weights, which are quick.
// Values keep their ids.
Graph with_plain_depthwise(Graph graph);

}  // namespace actmatch::cpu
