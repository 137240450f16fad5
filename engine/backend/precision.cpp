#include "engine/backend/backend.h"
#include "engine/core/error.h"

namespace actmatch {

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::kF32: return "fp32";
    case Precision::kTf32: return "tf32";
    case Precision::kBf16: return "bf16";
  }
  return "?";
}

Precision precision_of(const std::string& name) {
  for (const Precision p : {Precision::kF32, Precision::kTf32, Precision::kBf16})
    if (name == name_of(p)) return p;
  throw Error(ErrorCode::kInvalidArgument, "there is no precision '" + name + "'; use fp32, tf32 or bf16");
}

}  // namespace actmatch
