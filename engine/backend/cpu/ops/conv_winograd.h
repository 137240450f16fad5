// Convolutions with frozen weights by Winograd's algorithm, where that is faster than oneDNN's direct code.
#pragma once

#include "engine/backend/cpu/lowering.h"

namespace actmatch::cpu {

// Adds the node's step and returns true, or returns false where this code does not apply: other kernels than dense 3x3 ones of stride 1,
// weights that change, channels that do not fill vectors, other processors.
bool build_conv_winograd(Lowering& l);

}  // namespace actmatch::cpu
