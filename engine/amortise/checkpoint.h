// A training on disk, as a safetensors file: eight bytes with the length of a JSON header, the header (dtype, shape and place of each
// array; texts under "__metadata__"), the arrays' bytes. Anything that reads safetensors can look into it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/amortise/trainer.h"

namespace actmatch {

struct Checkpoint {
  std::map<std::string, std::string> about;  // what the training was asked for; whoever goes on compares
  TrainingState state;
};

// Atomically: at any moment the file is the old one or the new one. Throws kIo.
void write_checkpoint(const std::string& path, const Checkpoint& checkpoint);
// Throws kNotFound, kIo, kFormat (not such a file, or a damaged one).
Checkpoint read_checkpoint(const std::string& path);

}  // namespace actmatch
