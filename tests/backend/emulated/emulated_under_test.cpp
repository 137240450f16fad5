// The CUDA backend in the emulator, without NVIDIA's libraries: kernels of our own do everything; for TF32 behind a library that cuts
// their factors.
#include "engine/backend/cuda/cuda_device_backend.h"
#include "tests/backend/emulated/tf32_libraries.h"
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
    if (parts.precision == Precision::kTf32) {
      parts.convolutions = tf32_convolutions(parts.stream->get());
      parts.products = tf32_products(parts.stream->get());
    }
    return parts;
  }());
  return backend;
}

Tolerance in_precision(Tolerance t) { return tolerance_under_test(t); }
double branch_margin() { return branch_margin_under_test(); }
// The weights of a generator are a picture's own, so only that of a single picture is the library's to run.
bool same_bits_in_batches() { return precision_under_test() != Precision::kTf32; }

}  // namespace actmatch::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  actmatch::test::choose_tests();
  return RUN_ALL_TESTS();
}
