// The CUDA backend on a GPU. ACTMATCH_TEST_PRECISION: fp32 (default), tf32 or bf16. Without a GPU the program says why and answers 77;
// a GPU that cannot be used is a failure.
#include <gtest/gtest.h>

#include <iostream>

#include "engine/backend/cuda/cuda_backend.h"
#include "engine/core/error.h"
#include "tests/support/tested_backend.h"
#include "tests/support/tested_precision.h"

namespace actmatch::test {

Backend& tested_backend() {
  static const std::unique_ptr<Backend> backend = cuda::make_cuda_backend({0, precision_under_test(), nullptr});
  return *backend;
}

// TF32 keeps 10 bits of a factor: off by 2^-11 of itself, about 1e-7 in the squared norm; branches of activations that are taken the
// other way deep in a net cost up to a thousandth or two. bf16: see the emulator's bound.
Tolerance in_precision(Tolerance t) {
  switch (precision_under_test()) {
    case Precision::kTf32: return t.kind == Tolerance::Kind::kSquared ? squared(std::max(t.amount, 5e-3)) : t;
    case Precision::kBf16: return squared(3e-2);
    case Precision::kF32: break;
  }
  return t;
}
double branch_margin() { return precision_under_test() == Precision::kF32 ? 1e-3 : 3e-2; }
bool same_bits_in_batches() { return false; }

}  // namespace actmatch::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  try {
    actmatch::cuda::list_cuda_devices();
  } catch (const actmatch::Error& e) {
    std::cout << "skipped: " << e.what() << "\n";
    return 77;
  }
  try {
    std::cout << actmatch::test::tested_backend().description() << "\n";
  } catch (const actmatch::Error& e) {
    std::cout << "failed: " << e.what() << "\n";
    return 1;
  }
  actmatch::test::choose_tests();
  return RUN_ALL_TESTS();
}
