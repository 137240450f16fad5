// The answer to "which of cuDNN's engines, with which settings": all that is needed to build the same plan again.
// Pure host code.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace actmatch::cuda {

struct EngineChoice {
  int64_t engine = 0;                // cuDNN's global index of the engine for this operation graph
  std::map<int64_t, int64_t> knobs;  // knob type (cuDNN's number) -> value

  auto operator<=>(const EngineChoice&) const = default;
};

// "engine 5 {2=25, 12=0}".
std::string describe(const EngineChoice& choice);

}  // namespace actmatch::cuda
