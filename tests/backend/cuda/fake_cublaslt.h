// A cuBLASLt of the tests: multiplies on the host what the library describes to it, with the algorithms that the test offers. It is linked
// instead of the real one, behind the toolkit's own header.
#pragma once

#include <cublasLt.h>
#include <cublas_api.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace actmatch::cuda {

struct FakeAlgorithm {
  int32_t id = 1;
  uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_NONE;
  uint64_t numerics =
      CUBLASLT_NUMERICAL_IMPL_FLAGS_FMA | CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_32F | CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_32F;
  uint64_t workspace = 0;
  int32_t splits = 1;
  cublasStatus_t state = CUBLAS_STATUS_SUCCESS;
};

struct FakeCublasLt {
  std::vector<FakeAlgorithm> algorithms{{}};
  size_t version = CUBLAS_VERSION;
  bool heuristic_refuses = false;
  std::string failing;  // the function that fails: "cublasLtCreate"
  cublasStatus_t failing_with = CUBLAS_STATUS_INTERNAL_ERROR;
  std::function<void()> on_product;  // called when a product is to be made
  int questions = 0;                 // how often the heuristic was asked
  // Of the last question.
  uint64_t workspace_limit = 0;
  uint32_t reductions = 0, least_alignment = 0;
  // Of the last product.
  cublasComputeType_t compute{};
  int32_t used = 0;
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
  cudaStream_t stream = nullptr;
  int alive = 0;  // objects that were created and not destroyed

  cublasStatus_t answer(const char* function) const { return failing == function ? failing_with : CUBLAS_STATUS_SUCCESS; }
};
FakeCublasLt& fake_cublaslt();

}  // namespace actmatch::cuda
