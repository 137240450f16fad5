// The CUDA backend in the emulator, without NVIDIA's libraries: kernels of our own do everything.

#include "engine/backend/cuda/cuda_device_backend.h"
#include "tests/support/tested_backend.h"
#include "tests/support/tested_precision.h"

namespace actmatch::test {

Backend& tested_backend() {
  static cuda::DeviceBackend backend([] {
    cuda::DeviceBackendParts parts;
    parts.stream = std::make_unique<cuda::Stream>();
    parts.precision = precision_under_test();
    parts.description = "emulator";
    parts.preferred_batch = 4;
    return parts;
  }());
  return backend;
}

// A number in bfloat16 is off by up to 2^-9 of itself, and every operator of a test rounds once or twice: 1e-5 in the squared norm for a
// few of them. A branch of an activation that is taken the other way deep in a net costs more, a percent or two: the bound leaves that
// room, and a wrong operator is off by about 1.
Tolerance in_precision(Tolerance t) { return precision_under_test() == Precision::kBf16 ? squared(3e-2) : t; }
double branch_margin() { return precision_under_test() == Precision::kBf16 ? 3e-2 : 1e-3; }
bool same_bits_in_batches() { return true; }

}  // namespace actmatch::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  actmatch::test::choose_tests();
  return RUN_ALL_TESTS();
}
