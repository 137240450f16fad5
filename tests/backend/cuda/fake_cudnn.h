// A cuDNN of the tests: it takes descriptions of everything, and knows no engine for any of it, so that kernels of our own do the work, or
// one for all of it, which computes nothing. Any of its functions may fail. It is linked instead of the real one, behind cuDNN's own
// header.
#pragma once

#include <cudnn_graph.h>

#include <cstddef>
#include <functional>
#include <string>

namespace actmatch::cuda {

struct FakeCudnn {
  size_t version = 92100;
  std::string device = R"({"deviceName": "Fake GPU", "deviceVer": 900})";  // how it describes the device
  std::string failing;                                                     // the function that fails: "cudnnCreate"
  cudnnStatus_t failing_with = CUDNN_STATUS_INTERNAL_ERROR;
  bool knows_an_engine = false;
  std::function<void()> on_execute;  // called when a plan is to run
  cudaStream_t stream = nullptr;
  int alive = 0;  // handles and descriptors that were created and not destroyed

  cudnnStatus_t answer(const char* function) const { return failing == function ? failing_with : CUDNN_STATUS_SUCCESS; }
};
FakeCudnn& fake_cudnn();

}  // namespace actmatch::cuda
