// Matrix products by cuBLASLt.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "engine/backend/cuda/libraries.h"

struct CUstream_st;  // cudaStream_t points to one

namespace actmatch::cuda {

struct CublasOptions {
  CUstream_st* stream = nullptr;                   // of the current device
  size_t workspace_bytes = size_t{32} << 20;       // no product takes more; what cuBLAS takes for itself on Hopper
  std::function<void(const std::string&)> notice;  // one line about something that costs time but no result; may be empty
};

// The algorithm is the first of cuBLAS's own choice that keeps the precision and gives the same bits again: it depends on key, device and
// version only, and nothing is timed. run() allocates nothing and may be captured once it has run outside: the first run loads code.
// Addresses are aligned to 16 bytes. One thread at a time.
// Throws kUnsupported where cuBLAS does not work on this machine, kOutOfMemory where there is no memory for it.
std::unique_ptr<MatMulLibrary> make_cublas_library(const CublasOptions& options);

}  // namespace actmatch::cuda
