// Kernels of our own behind plans that less is fused to than there is to do. The steps of convolutions launch them, and when plans are
// chosen they are timed beside the plans that do all.
#pragma once

#include <cuda_runtime.h>

#include "engine/backend/cuda/libraries.h"
#include "kernels/clip.h"

namespace actmatch::cuda {

// dx = clip'(saved) * (dx + more): `more` is what a plan for backward data gave, dx the gradient of before. No derivative where the clip
// changes nothing; `saved` is not read then.
template <class T>
void add_gradient(cudaStream_t stream, T* dx, const T* more, const T* saved, const kernels::Clip& clip, int64_t count);

// What `key` has and less_fused(key) has not, on tensors that such plans have written:
//   forward: the ceiling, on y in place
//   backward data: with an addend, add_gradient of the addend to x; without, the derivative, on x in place
void run_rest(cudaStream_t stream, const PlanKey& key, const ConvTensors& tensors);

}  // namespace actmatch::cuda
