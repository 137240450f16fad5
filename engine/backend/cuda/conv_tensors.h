// The tensors in memory of a convolution with what is fused to it: how large each is, and whether a set of addresses fits.
// Pure host code.
#pragma once

#include <array>
#include <cstddef>

#include "engine/backend/cuda/libraries.h"

namespace actmatch::cuda {

// What plans may rely on; the arena aligns to more than this.
constexpr size_t kConvAlignment = 16;

// Bytes of the tensors of a key; 0 for those that it has not.
struct ConvBytes {
  size_t x = 0, w = 0, y = 0, bias = 0, addend = 0, saved = 0;
};
ConvBytes bytes_of(const PlanKey& key);

// Fails when a tensor of the key has no address, or one that is not aligned, or when there is one that the key has not.
void require_tensors(const PlanKey& key, const ConvTensors& tensors);

}  // namespace actmatch::cuda
