// Convolutions by cuDNN.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "engine/backend/cuda/libraries.h"
#include "engine/backend/cuda/plan_cache.h"

struct CUstream_st;  // cudaStream_t points to one

namespace actmatch::cuda {

struct CudnnOptions {
  int device = 0;                 // the current one
  CUstream_st* stream = nullptr;  // plans run on it, and are timed on it: not the default stream, because that cannot be captured
  ConvRest rest;                  // launches on it as well; what fused plans are compared with
  std::string cache_path = default_plan_cache_path();
  size_t workspace_bytes = size_t{256} << 20;      // no plan takes more
  std::function<void(const std::string&)> notice;  // one line about something that costs time but no result; may be empty
};

// What find() may cost: a convolution that the cache file does not know takes about a tenth of a second, or some seconds where plans have
// to be compiled first; it takes and gives back memory of the device as large as its tensors and a workspace, and waits for the device.
// Runners may be run inside a capture once they have run outside: the first run loads code. One thread at a time.
// Throws kUnsupported where cuDNN does not work on this machine.
std::unique_ptr<ConvLibrary> make_cudnn_library(const CudnnOptions& options);

}  // namespace actmatch::cuda
