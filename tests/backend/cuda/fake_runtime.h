// A CUDA runtime of the tests: every call is written down, and fails where the test says so; devices are as the test describes them, with a
// clock that it turns. Memory is the host's; kernels are launched and compute nothing. It is linked instead of the real one, behind the
// toolkit's own headers.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace actmatch::cuda {

struct FakeDevice {
  std::string name = "Fake GPU";
  int major = 9, minor = 0;
};

struct FakeRuntime {
  int driver = CUDART_VERSION;         // for which CUDA; 0: there is none
  cudaError_t counting = cudaSuccess;  // what asking for the number of devices answers
  std::vector<FakeDevice> devices{FakeDevice()};
  std::vector<std::string> calls;  // "malloc", "record", "begin capture", ...
  double clock = 0;                // microseconds
  bool capturing = false;
  double captured = 0;                                                   // what the graph being captured will take
  size_t room = size_t{1} << 30;                                         // bytes that malloc may still give
  std::set<void*> memory;                                                // what is allocated
  int graphs = 0, executables = 0, events = 0, streams = 0, pinned = 0;  // alive
  bool lost = false;                                                     // every call fails from now on
  cudaError_t lost_with = cudaErrorIllegalAddress;
  int64_t failing_call = -1;  // the one of this number, from 0, fails; from then on the device may be lost
  cudaError_t failing_with = cudaErrorInvalidValue;
  bool lost_then = false;
  bool refuse_capture = false;
  std::vector<std::vector<std::string>>
      captures;                      // what each graph consists of, in order: kernels by their names, "memset", "copy", "plan"
  std::vector<double> disturbances;  // by how much the next replays take longer

  // A kernel of this length is launched.
  void launch(double microseconds);
  // A graph being captured gets another node.
  void add_node(const std::string& name);
  // Writes a call down and says what it answers. The second: one that no stream in capture allows.
  cudaError_t note(const char* call);
  cudaError_t note_outside_capture(const char* call);
};
FakeRuntime& fake_runtime();

}  // namespace actmatch::cuda
