// Where in the source a call failed, as messages tell it: "engine/backend/cuda/cuda_memory.cpp:13", wherever the source lies.
#pragma once

#include <string>

namespace actmatch::cuda {

inline std::string source_place(const char* file, int line) {
  std::string name = file;
  if (const size_t engine = name.rfind("engine/"); engine != std::string::npos) name.erase(0, engine);
  return name + ":" + std::to_string(line);
}

}  // namespace actmatch::cuda
