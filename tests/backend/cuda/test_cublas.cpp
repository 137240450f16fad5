// Matrix products by cuBLASLt, described to one of the test's: the products are right in every layout, and only algorithms are taken that
// keep the precision and give the same bits again.
#include <gtest/gtest.h>

#include <vector>

#include "engine/backend/cuda/cublas/cublas_library.h"
#include "engine/core/error.h"
#include "kernels/bfloat16.h"
#include "tests/backend/cuda/fake_cublaslt.h"
#include "tests/support/expect_error.h"

namespace actmatch::cuda {
namespace {

using test::expect_error;

const auto kStream = reinterpret_cast<cudaStream_t>(0x10);

class Cublas : public ::testing::Test {
 protected:
  void SetUp() override { fake_cublaslt() = FakeCublasLt(); }
  void TearDown() override { EXPECT_EQ(fake_cublaslt().alive, 0); }
  std::unique_ptr<MatMulLibrary> open() {
    CublasOptions options;
    options.stream = kStream;
    options.workspace_bytes = 1000;
    options.notice = [this](const std::string& line) { notices_.push_back(line); };
    return make_cublas_library(options);
  }
  // The number of the algorithm that is used; 0 for none.
  int32_t used(ConvPrecision precision) {
    MatMulKey key;
    key.precision = precision;
    const auto runner = open()->find(key);
    if (!runner) return 0;
    alignas(16) float a[4]{}, b[4]{}, c[4]{}, workspace[250];
    runner->run(c, a, b, workspace);
    return fake_cublaslt().used;
  }
  std::vector<std::string> notices_;
};

// Integers, so that any order of the sums gives the same: the products must agree exactly.
std::vector<float> integers(size_t count, uint32_t seed) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(static_cast<int>((seed = seed * 1664525u + 1013904223u) >> 29) - 4);
  return values;
}

template <class T>
struct Aligned {  // 16 bytes, as the library asks for
  explicit Aligned(const std::vector<float>& values) : memory(values.size() + 16 / sizeof(T)) {
    while (reinterpret_cast<uintptr_t>(memory.data() + offset) % 16 != 0) ++offset;
    for (size_t i = 0; i < values.size(); ++i) data()[i] = kernels::from_float<T>(values[i]);
  }
  T* data() { return memory.data() + offset; }
  std::vector<T> memory;
  size_t offset = 0;
};

template <class T>
void expect_right_product(MatMulLibrary& library, const MatMulKey& key) {
  const auto matrices = [&key](int64_t size, int64_t stride) { return static_cast<size_t>((key.batch - 1) * stride + size); };
  const std::vector<float> a = integers(matrices(key.M * key.K, key.a_stride), 1), b = integers(matrices(key.K * key.N, key.b_stride), 2),
                           c = integers(matrices(key.M * key.N, key.c_stride), 3);
  Aligned<T> a_memory(a), b_memory(b), c_memory(c);
  const auto runner = library.find(key);
  ASSERT_NE(runner, nullptr);
  runner->run(c_memory.data(), a_memory.data(), b_memory.data(), nullptr);
  std::vector<float> expected = c;  // what lies between the matrices stays
  for (int64_t i = 0; i < key.batch; ++i)
    for (int64_t m = 0; m < key.M; ++m)
      for (int64_t n = 0; n < key.N; ++n) {
        float& sum = expected[static_cast<size_t>(i * key.c_stride + m * key.N + n)];
        if (!key.accumulate) sum = 0;
        for (int64_t k = 0; k < key.K; ++k)
          sum += a[static_cast<size_t>(i * key.a_stride + (key.transpose_a ? k * key.M + m : m * key.K + k))] *
                 b[static_cast<size_t>(i * key.b_stride + (key.transpose_b ? n * key.K + k : k * key.N + n))];
      }
  for (size_t at = 0; at < c.size(); ++at) ASSERT_EQ(kernels::to_float(c_memory.data()[at]), expected[at]) << at;
}

TEST_F(Cublas, ProductsAreRightInEveryLayout) {
  const auto library = open();
  const int64_t sizes[][3] = {{1, 1, 1}, {2, 3, 5}, {7, 1, 4}, {1, 6, 3}, {5, 8, 1}};
  for (const auto& [M, N, K] : sizes)
    for (bool transpose_a : {false, true})
      for (bool transpose_b : {false, true})
        for (bool accumulate : {false, true})
          for (int64_t gap : {0, 3}) {
            SCOPED_TRACE(testing::Message() << M << "x" << N << "x" << K << (transpose_a ? " a'" : "") << (transpose_b ? " b'" : "") << " "
                                            << accumulate << " gap " << gap);
            MatMulKey key{ConvPrecision::kF32, M, N, K, 1, transpose_a, transpose_b, 0, 0, 0, accumulate};
            expect_right_product<float>(*library, key);
            key.batch = 3;
            key.a_stride = M * K + gap;
            key.c_stride = M * N + gap;
            expect_right_product<float>(*library, key);  // one b for all
            key.b_stride = K * N + gap;
            expect_right_product<float>(*library, key);
            key.precision = ConvPrecision::kTf32;
            expect_right_product<float>(*library, key);
            key.precision = ConvPrecision::kBf16;
            expect_right_product<kernels::bfloat16>(*library, key);
          }
  EXPECT_TRUE(notices_.empty());
}

TEST_F(Cublas, EachPrecisionIsComputedAsItSays) {
  used(ConvPrecision::kF32);
  EXPECT_EQ(fake_cublaslt().compute, CUBLAS_COMPUTE_32F);
  used(ConvPrecision::kTf32);
  EXPECT_EQ(fake_cublaslt().compute, CUBLAS_COMPUTE_32F_FAST_TF32);
  used(ConvPrecision::kBf16);
  EXPECT_EQ(fake_cublaslt().compute, CUBLAS_COMPUTE_32F);
  EXPECT_EQ(fake_cublaslt().stream, kStream);
}

TEST_F(Cublas, AsksForWhatItCanUse) {
  used(ConvPrecision::kF32);
  EXPECT_EQ(fake_cublaslt().workspace_limit, 1000u);
  EXPECT_EQ(fake_cublaslt().reductions, uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  EXPECT_EQ(fake_cublaslt().least_alignment, 16u);
}

TEST_F(Cublas, OrdersOfSumsThatAreLeftOpenAreRefused) {
  FakeAlgorithm in_place, output_type, compute_type;
  in_place.reduction = CUBLASLT_REDUCTION_SCHEME_INPLACE, in_place.id = 1;
  output_type.reduction = CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE, output_type.id = 2;
  compute_type.reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, compute_type.id = 3;
  fake_cublaslt().algorithms = {in_place, output_type, compute_type};
  EXPECT_EQ(used(ConvPrecision::kBf16), 3);
  EXPECT_TRUE(notices_.empty());
  fake_cublaslt().algorithms.pop_back();
  EXPECT_EQ(used(ConvPrecision::kBf16), 0);
  ASSERT_EQ(notices_.size(), 1u);
  EXPECT_NE(notices_[0].find("bf16 1x1 times 1x1"), std::string::npos) << notices_[0];
  EXPECT_NE(notices_[0].find("none of its 2 algorithms"), std::string::npos) << notices_[0];
}

TEST_F(Cublas, LessPrecisionThanAskedForIsRefused) {
  FakeAlgorithm bf16, tf32, fp32, half_sums;
  bf16.id = 1, bf16.numerics = CUBLASLT_NUMERICAL_IMPL_FLAGS_HMMA | CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_32F |
                               CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16BF;
  tf32.id = 2, tf32.numerics = CUBLASLT_NUMERICAL_IMPL_FLAGS_HMMA | CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_32F |
                               CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32;
  fp32.id = 3;
  half_sums.id = 4, half_sums.numerics = CUBLASLT_NUMERICAL_IMPL_FLAGS_HMMA | CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_16F;
  fake_cublaslt().algorithms = {half_sums, bf16, tf32, fp32};
  EXPECT_EQ(used(ConvPrecision::kF32), 3);
  EXPECT_EQ(used(ConvPrecision::kTf32), 2);
  EXPECT_EQ(used(ConvPrecision::kBf16), 1);
}

TEST_F(Cublas, UsesTheWorkspaceThatItNames) {
  FakeAlgorithm too_much, modest;
  too_much.id = 1, too_much.workspace = 1001;
  modest.id = 2, modest.workspace = 1000, modest.splits = 4, modest.reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  fake_cublaslt().algorithms = {too_much, modest};
  const auto library = open();
  const auto runner = library->find({});
  ASSERT_NE(runner, nullptr);
  EXPECT_EQ(runner->workspace_bytes(), 1000u);
  EXPECT_EQ(runner->description(), "cuBLASLt algorithm 2 tile 20 in 4 parts");
  alignas(16) float a[4]{}, b[4]{}, c[4]{}, workspace[250];
  runner->run(c, a, b, workspace);
  EXPECT_EQ(fake_cublaslt().workspace, workspace);
  EXPECT_EQ(fake_cublaslt().workspace_bytes, 1000u);
  expect_error(ErrorCode::kInternal, {"no workspace"}, [&] { runner->run(c, a, b, nullptr); });
  expect_error(ErrorCode::kInternal, {"not an aligned one"}, [&] { runner->run(c, a + 1, b, workspace); });
}

TEST_F(Cublas, RunnersAreSharedAndAskedForOnce) {
  const auto library = open();
  const auto runner = library->find({});
  EXPECT_EQ(library->find({}), runner);
  EXPECT_EQ(fake_cublaslt().questions, 1);
  MatMulKey other;
  other.transpose_a = true;
  EXPECT_NE(library->find(other), runner);
}

TEST_F(Cublas, WhatItDoesNotSupportIsSaidOnce) {
  fake_cublaslt().heuristic_refuses = true;
  const auto library = open();
  EXPECT_EQ(library->find({}), nullptr);
  EXPECT_EQ(library->find({}), nullptr);
  ASSERT_EQ(notices_.size(), 1u);
  EXPECT_NE(notices_[0].find("names no algorithm"), std::string::npos) << notices_[0];
  FakeAlgorithm broken;
  broken.state = CUBLAS_STATUS_NOT_SUPPORTED;
  fake_cublaslt().heuristic_refuses = false;
  fake_cublaslt().algorithms = {broken};
  EXPECT_EQ(open()->find({}), nullptr);
}

// Whichever call fails: one line with the call, the status, and the place.
TEST_F(Cublas, EveryCallThatFailsIsNamed) {
  for (const char* function : {"cublasLtCreate", "cublasLtMatmulDescCreate", "cublasLtMatmulDescSetAttribute", "cublasLtMatrixLayoutCreate",
                               "cublasLtMatrixLayoutSetAttribute", "cublasLtMatmulPreferenceCreate", "cublasLtMatmulPreferenceSetAttribute",
                               "cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul"}) {
    SCOPED_TRACE(function);
    fake_cublaslt() = FakeCublasLt();
    fake_cublaslt().failing = function;
    expect_error(ErrorCode::kUnsupported, {std::string("cuBLAS failed: ") + function, "A_STATUS, what it means", "cublas_library.cpp:"},
                 [&] { used(ConvPrecision::kF32); });
    EXPECT_EQ(fake_cublaslt().alive, 0);
    fake_cublaslt().failing_with = CUBLAS_STATUS_ALLOC_FAILED;
    expect_error(ErrorCode::kOutOfMemory, {function, "a smaller batch"}, [&] { used(ConvPrecision::kF32); });
  }
}

TEST_F(Cublas, PlacesAreToldFromTheSourceFolderOn) {
  fake_cublaslt().failing = "cublasLtCreate";
  expect_error(ErrorCode::kUnsupported, {"cuBLAS cannot be used on this machine", "(engine/backend/cuda/cublas/cublas_library.cpp:"},
               [&] { open(); });
}

}  // namespace
}  // namespace actmatch::cuda
