// The backend that a test program is about. The same tests are linked into several programs: the CPU's, the CUDA backend's in the emulator
// and on a GPU; each says in one file of its own which backend that is.
#pragma once

#include "engine/backend/backend.h"
#include "tests/support/compare.h"

namespace actmatch::test {

Backend& tested_backend();
// What a test asks for when it says `t`, in the backend's precision.
Tolerance in_precision(Tolerance t);
// So near to a kink of an activation, rounding may decide which branch is taken.
double branch_margin();
// Whether a picture gets the same bits in batches of all sizes.
bool same_bits_in_batches();

}  // namespace actmatch::test
