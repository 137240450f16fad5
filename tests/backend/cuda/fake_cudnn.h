// A cuDNN of the tests: it takes descriptions of everything and knows no engine for any of it, so that kernels of our own do the work; and
// any of its functions may fail. It is linked instead of the real one, behind cuDNN's own header.
#pragma once

#include <cudnn_graph.h>

#include <cstddef>
#include <string>

namespace actmatch::cuda {

struct FakeCudnn {
  size_t version = 92100;
  std::string device = R"({"deviceName": "Fake GPU", "deviceVer": 900})";  // how it describes the device
  std::string failing;                                                     // the function that fails: "cudnnCreate"
  cudnnStatus_t failing_with = CUDNN_STATUS_INTERNAL_ERROR;
  int alive = 0;  // handles and descriptors that were created and not destroyed

  cudnnStatus_t answer(const char* function) const { return failing == function ? failing_with : CUDNN_STATUS_SUCCESS; }
};
FakeCudnn& fake_cudnn();

}  // namespace actmatch::cuda
