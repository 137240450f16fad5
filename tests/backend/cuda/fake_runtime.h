// A CUDA runtime of the tests: the calls that timing plans makes, written down, on a device whose clock the test turns. It is linked
// instead of the real one, behind the toolkit's own headers.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <vector>

namespace actmatch::cuda {

struct FakeRuntime {
  std::vector<std::string> calls;  // "malloc", "record", "begin capture", ...
  double clock = 0;                // microseconds
  bool capturing = false;
  double captured = 0;                          // what the graph being captured will take
  size_t room = size_t{1} << 30;                // bytes that malloc may still give
  std::set<void*> memory;                       // what is allocated
  int graphs = 0, executables = 0, events = 0;  // alive
  bool lost = false;                            // every call fails from now on
  bool refuse_capture = false;
  std::vector<double> disturbances;  // by how much the next replays take longer

  // A kernel of this length is launched.
  void launch(double microseconds);
};
FakeRuntime& fake_runtime();

}  // namespace actmatch::cuda
