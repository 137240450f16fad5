#include "tools/bench/backend.h"

#include "engine/core/error.h"

namespace actmatch::bench {

std::unique_ptr<Backend> make_backend(const std::string& device, Precision precision, int threads) {
  if (device != "cpu") throw Error(ErrorCode::kUnsupported, "device '" + device + "': this actmatch_bench knows 'cpu' only");
  if (precision != Precision::kF32)
    throw Error(ErrorCode::kUnsupported, std::string("precision ") + name_of(precision) + ": the CPU computes in fp32 only");
  return make_cpu_backend(threads);
}

}  // namespace actmatch::bench
