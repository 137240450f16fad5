// Max pooling in layouts that keep eight channels together: eight maxima and their places at a time. oneDNN's own code stores the places
// one by one, which on AVX2 takes several times as long as the maxima themselves.
#pragma once

#include <memory>

#include "engine/backend/cpu/loops.h"

namespace actmatch::cpu {

// Adds the node's step and returns true, or returns false where this code does not apply: average pooling, dilation, windows of more than
// 255 places or entirely in the padding, other layouts.
bool build_max_pool(Lowering& l);

}  // namespace actmatch::cpu
