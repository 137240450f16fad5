// Convolutions and matrix products as tensor cores compute them in TF32, for the emulator, whose own kernels know fp32 and bf16 alone.
#pragma once

#include <memory>

#include "engine/backend/cuda/check.h"
#include "engine/backend/cuda/libraries.h"

namespace actmatch::test {

std::unique_ptr<cuda::ConvLibrary> tf32_convolutions(cudaStream_t stream);
std::unique_ptr<cuda::MatMulLibrary> tf32_products(cudaStream_t stream);

}  // namespace actmatch::test
