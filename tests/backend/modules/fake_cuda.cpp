// For the module that is libactmatch_cuda.so but for NVIDIA's libraries: how many calls of the runtime its GPU answers before it is lost
// (ACTMATCH_FAKE_CUDA_CALLS; 0 or unset: all).
#include <cstdlib>

#include "tests/backend/cuda/fake_runtime.h"

namespace {

const bool kSet = [] {
  actmatch::cuda::FakeRuntime& runtime = actmatch::cuda::fake_runtime();
  if (const char* calls = std::getenv("ACTMATCH_FAKE_CUDA_CALLS")) runtime.failing_call = std::atoll(calls) - 1;
  runtime.failing_with = cudaErrorLaunchFailure;
  runtime.lost_then = true;
  return true;
}();

}  // namespace
