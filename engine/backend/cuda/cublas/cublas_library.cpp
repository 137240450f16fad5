#include "engine/backend/cuda/cublas/cublas_library.h"

#include <cublasLt.h>

#include <array>
#include <map>
#include <utility>

#include "engine/backend/cuda/check.h"
#include "engine/backend/cuda/cublas/check.h"
#include "engine/backend/cuda/matmul_layout.h"
#include "engine/core/error.h"

namespace actmatch::cuda {
namespace {

constexpr uint32_t kAlignment = 16;

// Where a product is split along K, its parts must be added in an order that does not depend on who is done first. "Compute type" does
// that: the parts go to the workspace in fp32 and a second kernel adds them up. "In place" lets blocks add to the result one after another,
// which leaves the order open; "output type" would round the parts to bf16.
constexpr uint32_t kReductions = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;

// cuBLASLt's objects with an owner.
template <class Object, cublasStatus_t (*destroy)(Object)>
class Owner {
 public:
  Owner() = default;
  ~Owner() {
    if (object_) destroy(object_);
  }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
  Object get() const { return object_; }
  Object* address() { return &object_; }

 private:
  Object object_ = nullptr;
};
using LtHandle = Owner<cublasLtHandle_t, cublasLtDestroy>;
using Operation = Owner<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owner<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owner<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

cudaDataType_t memory_type(ConvPrecision precision) { return precision == ConvPrecision::kBf16 ? CUDA_R_16BF : CUDA_R_32F; }

void make_layout(Layout& layout, const ColumnMajor& matrix, int64_t batch, cudaDataType_t type) {
  ACTMATCH_CUBLAS(cublasLtMatrixLayoutCreate(layout.address(), type, static_cast<uint64_t>(matrix.rows),
                                             static_cast<uint64_t>(matrix.columns), matrix.leading));
  const auto count = static_cast<int32_t>(batch);
  ACTMATCH_CUBLAS(cublasLtMatrixLayoutSetAttribute(layout.get(), CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof(count)));
  ACTMATCH_CUBLAS(cublasLtMatrixLayoutSetAttribute(layout.get(), CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &matrix.batch_stride,
                                                   sizeof(matrix.batch_stride)));
}

// An algorithm's own answer, or `otherwise` where it gives none.
template <class T>
T setting_of(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute, T otherwise) {
  T value{};
  size_t written = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof(value), &written);
  return status == CUBLAS_STATUS_SUCCESS ? value : otherwise;
}

// Asks once more what an algorithm does: the preferences are wishes, and a result must not depend on how they are read. One that does not
// tell is not taken.
bool keeps_promises(const cublasLtMatmulAlgo_t& algorithm, ConvPrecision precision) {
  if ((setting_of(algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, uint32_t{CUBLASLT_REDUCTION_SCHEME_MASK}) & ~kReductions) != 0)
    return false;
  uint64_t numerics = 0;
  size_t written = 0;
  if (cublasLtMatmulAlgoCapGetAttribute(&algorithm, CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS, &numerics, sizeof(numerics), &written) !=
      CUBLAS_STATUS_SUCCESS)
    return false;
  uint64_t refused = CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_16F;
  if (precision != ConvPrecision::kBf16)
    refused |= CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16F | CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16BF;  // tf32 is more than those
  if (precision == ConvPrecision::kF32) refused |= CUBLASLT_NUMERICAL_IMPL_FLAGS_TENSOR_OP_MASK | CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32;
  return (numerics & refused) == 0;
}

class Product : public MatMulRunner {
 public:
  Product(const MatMulKey& key, std::shared_ptr<LtHandle> handle, const CublasOptions& options)
      : handle_(std::move(handle)), stream_(options.stream), beta_(key.accumulate ? 1.0f : 0.0f) {
    const MatMulLayout layout = layout_of(key);
    const cudaDataType_t type = memory_type(key.precision);
    ACTMATCH_CUBLAS(cublasLtMatmulDescCreate(
        operation_.address(), key.precision == ConvPrecision::kTf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F));
    set_transpose(CUBLASLT_MATMUL_DESC_TRANSA, layout.transpose_first);
    set_transpose(CUBLASLT_MATMUL_DESC_TRANSB, layout.transpose_second);
    make_layout(first_, layout.first, key.batch, type);
    make_layout(second_, layout.second, key.batch, type);
    make_layout(result_, layout.result, key.batch, type);
  }

  // False when no algorithm serves; `why` then says so.
  bool choose_algorithm(ConvPrecision precision, size_t workspace_limit, std::string& why) {
    Preference preference;
    ACTMATCH_CUBLAS(cublasLtMatmulPreferenceCreate(preference.address()));
    const auto prefer = [&preference](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      ACTMATCH_CUBLAS(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)));
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{workspace_limit});
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, kReductions);
    for (const auto alignment : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                 CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      prefer(alignment, kAlignment);
    std::array<cublasLtMatmulHeuristicResult_t, 16> found{};
    int count = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle_->get(), operation_.get(), first_.get(), second_.get(), result_.get(), result_.get(),
                                       preference.get(), static_cast<int>(found.size()), found.data(), &count);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) count = 0;
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) check_cublas(status, "cublasLtMatmulAlgoGetHeuristic", __FILE__, __LINE__);
    for (int i = 0; i < count; ++i) {
      const cublasLtMatmulHeuristicResult_t& result = found[static_cast<size_t>(i)];
      if (result.state != CUBLAS_STATUS_SUCCESS || result.workspaceSize > workspace_limit || !keeps_promises(result.algo, precision))
        continue;
      algorithm_ = result.algo;
      workspace_bytes_ = result.workspaceSize;
      return true;
    }
    why = count == 0 ? "it names no algorithm"
                     : "none of its " + std::to_string(count) + " algorithms is deterministic and of that precision";
    return false;
  }

  size_t workspace_bytes() const override { return workspace_bytes_; }

  void run(void* c, const void* a, const void* b, void* workspace) override {
    for (const void* address : {static_cast<const void*>(c), a, b})
      ACTMATCH_CHECK(address && reinterpret_cast<uintptr_t>(address) % kAlignment == 0, "a matrix has no address, or not an aligned one");
    ACTMATCH_CHECK(workspace || workspace_bytes_ == 0, "a matrix product was given no workspace");
    const float alpha = 1.0f;  // of the host, so a captured step keeps the values
    try {
      ACTMATCH_CUBLAS(cublasLtMatmul(handle_->get(), operation_.get(), &alpha, b, first_.get(), a, second_.get(), &beta_, c, result_.get(),
                                     c, result_.get(), &algorithm_, workspace, workspace_bytes_, stream_));
    } catch (const CublasError& error) {
      expect_device(stream_, error.what());
      throw;
    }
  }

  std::string description() const override {
    const auto splits = setting_of(algorithm_, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, int32_t{1});
    std::string text = "cuBLASLt algorithm " + std::to_string(setting_of(algorithm_, CUBLASLT_ALGO_CONFIG_ID, int32_t{-1})) + " tile " +
                       std::to_string(setting_of(algorithm_, CUBLASLT_ALGO_CONFIG_TILE_ID, uint32_t{0}));
    if (splits > 1) text += " in " + std::to_string(splits) + " parts";
    return text;
  }

 private:
  void set_transpose(cublasLtMatmulDescAttributes_t attribute, bool transposed) {
    const cublasOperation_t operation = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    ACTMATCH_CUBLAS(cublasLtMatmulDescSetAttribute(operation_.get(), attribute, &operation, sizeof(operation)));
  }

  std::shared_ptr<LtHandle> handle_;  // runners may outlive the library
  cudaStream_t stream_;
  float beta_;
  Operation operation_;
  Layout first_, second_, result_;
  cublasLtMatmulAlgo_t algorithm_{};
  size_t workspace_bytes_ = 0;
};

std::string describe(const MatMulKey& key) {
  const auto matrix = [](int64_t rows, int64_t columns, bool transposed) {
    return std::to_string(rows) + "x" + std::to_string(columns) + (transposed ? " (transposed)" : "");
  };
  const char* precision = key.precision == ConvPrecision::kF32 ? "fp32 " : key.precision == ConvPrecision::kTf32 ? "tf32 " : "bf16 ";
  return precision + matrix(key.M, key.K, key.transpose_a) + " times " + matrix(key.K, key.N, key.transpose_b) + ", " +
         std::to_string(key.batch) + " of them";
}

class CublasLibrary : public MatMulLibrary {
 public:
  explicit CublasLibrary(const CublasOptions& options) : options_(options), handle_(std::make_shared<LtHandle>()) {
    try {
      ACTMATCH_CUBLAS(cublasLtCreate(handle_->address()));
    } catch (const CublasError& error) {
      throw Error(error.code(), std::string("cuBLAS cannot be used on this machine: ") + error.what());
    }
  }

  std::shared_ptr<MatMulRunner> find(const MatMulKey& key) override {
    if (const auto known = known_.find(key); known != known_.end()) return known->second;
    auto product = std::make_shared<Product>(key, handle_, options_);
    std::string why;
    if (!product->choose_algorithm(key.precision, options_.workspace_bytes, why)) {
      if (options_.notice) options_.notice("no algorithm of cuBLAS for '" + describe(key) + "', so an own kernel does it: " + why);
      product = nullptr;
    }
    known_[key] = product;
    return product;
  }

 private:
  CublasOptions options_;
  std::shared_ptr<LtHandle> handle_;
  std::map<MatMulKey, std::shared_ptr<MatMulRunner>> known_;
};

}  // namespace

std::unique_ptr<MatMulLibrary> make_cublas_library(const CublasOptions& options) { return std::make_unique<CublasLibrary>(options); }

}  // namespace actmatch::cuda
