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

Tolerance in_precision(Tolerance t) { return tolerance_under_test(t); }
double branch_margin() { return branch_margin_under_test(); }
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
