#include "tests/backend/cuda/fake_cublaslt.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "kernels/bfloat16.h"

namespace actmatch::cuda {

FakeCublasLt& fake_cublaslt() {
  static FakeCublasLt library;
  return library;
}

namespace {

// Attributes by number, as bytes; objects are told apart by their address.
struct Attributes {
  std::map<int, std::vector<char>> values;
  template <class T>
  T get(int attribute, T otherwise) const {
    const auto found = values.find(attribute);
    if (found == values.end()) return otherwise;
    T value;
    std::memcpy(&value, found->second.data(), sizeof(value));
    return value;
  }
  cublasStatus_t set(const char* function, int attribute, const void* value, size_t bytes) {
    const auto* begin = static_cast<const char*>(value);
    values[attribute] = std::vector<char>(begin, begin + bytes);
    return fake_cublaslt().answer(function);
  }
};
struct Operation : Attributes {
  cublasComputeType_t compute;
};
struct Layout : Attributes {
  cudaDataType_t type;
  int64_t rows, columns, leading;
};

template <class Object, class Handle>
cublasStatus_t create(const char* function, Handle* handle, const Object& object) {
  if (const cublasStatus_t status = fake_cublaslt().answer(function); status != CUBLAS_STATUS_SUCCESS) return status;
  *handle = reinterpret_cast<Handle>(new Object(object));
  ++fake_cublaslt().alive;
  return CUBLAS_STATUS_SUCCESS;
}
template <class Object, class Handle>
cublasStatus_t destroy(Handle handle) {
  delete reinterpret_cast<Object*>(handle);
  --fake_cublaslt().alive;
  return CUBLAS_STATUS_SUCCESS;
}

float read(const void* matrix, cudaDataType_t type, int64_t at) {
  return type == CUDA_R_16BF ? kernels::to_float(static_cast<const kernels::bfloat16*>(matrix)[at]) : static_cast<const float*>(matrix)[at];
}
void write(void* matrix, cudaDataType_t type, int64_t at, float value) {
  if (type == CUDA_R_16BF) {
    static_cast<kernels::bfloat16*>(matrix)[at] = kernels::from_float<kernels::bfloat16>(value);
  } else {
    static_cast<float*>(matrix)[at] = value;
  }
}

FakeAlgorithm algorithm_from(const cublasLtMatmulAlgo_t* algorithm) {
  FakeAlgorithm fake;
  static_assert(sizeof(fake) <= sizeof(*algorithm));
  std::memcpy(static_cast<void*>(&fake), algorithm, sizeof(fake));
  return fake;
}

template <class T>
cublasStatus_t answer(T value, void* buffer, size_t bytes, size_t* written) {
  if (bytes != sizeof(value)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(buffer, &value, sizeof(value));
  *written = sizeof(value);
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace
}  // namespace actmatch::cuda

using namespace actmatch::cuda;

extern "C" {

size_t cublasLtGetVersion() { return fake_cublaslt().version; }
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { return create("cublasLtCreate", handle, Attributes()); }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return destroy<Attributes>(handle); }
const char* cublasLtGetStatusName(cublasStatus_t) { return "A_STATUS"; }
const char* cublasLtGetStatusString(cublasStatus_t) { return "what it means"; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, cublasComputeType_t compute, cudaDataType_t scale) {
  if (scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  return create("cublasLtMatmulDescCreate", operation, Operation{{}, compute});
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) { return destroy<Operation>(operation); }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t bytes) {
  return reinterpret_cast<Operation*>(operation)->set("cublasLtMatmulDescSetAttribute", attribute, value, bytes);
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, uint64_t rows, uint64_t columns,
                                          int64_t leading) {
  return create("cublasLtMatrixLayoutCreate", layout, Layout{{}, type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), leading});
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { return destroy<Layout>(layout); }
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                size_t bytes) {
  return reinterpret_cast<Layout*>(layout)->set("cublasLtMatrixLayoutSetAttribute", attribute, value, bytes);
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return create("cublasLtMatmulPreferenceCreate", preference, Attributes());
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) { return destroy<Attributes>(preference); }
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  return reinterpret_cast<Attributes*>(preference)->set("cublasLtMatmulPreferenceSetAttribute", attribute, value, bytes);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t preference,
                                              int room, cublasLtMatmulHeuristicResult_t results[], int* count) {
  FakeCublasLt& library = fake_cublaslt();
  ++library.questions;
  const auto& wishes = *reinterpret_cast<Attributes*>(preference);
  library.workspace_limit = wishes.get(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{0});
  library.reductions = wishes.get(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_MASK});
  library.least_alignment = 256;
  for (const auto which : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                           CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    library.least_alignment = std::min(library.least_alignment, wishes.get(which, uint32_t{256}));
  if (library.heuristic_refuses) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (const cublasStatus_t status = library.answer("cublasLtMatmulAlgoGetHeuristic"); status != CUBLAS_STATUS_SUCCESS) return status;
  *count = 0;
  for (const FakeAlgorithm& algorithm : library.algorithms) {
    if (*count == room) break;
    cublasLtMatmulHeuristicResult_t& result = results[(*count)++];
    std::memcpy(&result.algo, &algorithm, sizeof(algorithm));
    result.workspaceSize = algorithm.workspace;
    result.state = algorithm.state;
  }
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void* buffer, size_t bytes, size_t* written) {
  const FakeAlgorithm fake = algorithm_from(algorithm);
  switch (attribute) {
    case CUBLASLT_ALGO_CONFIG_ID: return answer(fake.id, buffer, bytes, written);
    case CUBLASLT_ALGO_CONFIG_TILE_ID: return answer(uint32_t{20}, buffer, bytes, written);
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM: return answer(fake.splits, buffer, bytes, written);
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME: return answer(fake.reduction, buffer, bytes, written);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}
cublasStatus_t cublasLtMatmulAlgoCapGetAttribute(const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulAlgoCapAttributes_t attribute,
                                                 void* buffer, size_t bytes, size_t* written) {
  if (attribute != CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS) return CUBLAS_STATUS_NOT_SUPPORTED;
  return answer(algorithm_from(algorithm).numerics, buffer, bytes, written);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation_handle, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_handle, const void* b, cublasLtMatrixLayout_t b_handle, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_handle, void* d, cublasLtMatrixLayout_t d_handle,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  FakeCublasLt& library = fake_cublaslt();
  if (library.on_product) library.on_product();
  if (const cublasStatus_t status = library.answer("cublasLtMatmul"); status != CUBLAS_STATUS_SUCCESS) return status;
  const auto& operation = *reinterpret_cast<Operation*>(operation_handle);
  const auto &a_layout = *reinterpret_cast<Layout*>(a_handle), &b_layout = *reinterpret_cast<Layout*>(b_handle),
             &c_layout = *reinterpret_cast<Layout*>(c_handle), &d_layout = *reinterpret_cast<Layout*>(d_handle);
  library.compute = operation.compute;
  library.used = algorithm_from(algorithm).id;
  library.workspace = workspace, library.workspace_bytes = workspace_bytes, library.stream = stream;
  const auto transposed = [&operation](int attribute) { return operation.get(attribute, CUBLAS_OP_N) == CUBLAS_OP_T; };
  const bool a_transposed = transposed(CUBLASLT_MATMUL_DESC_TRANSA), b_transposed = transposed(CUBLASLT_MATMUL_DESC_TRANSB);
  const int64_t rows = d_layout.rows, columns = d_layout.columns, depth = a_transposed ? a_layout.rows : a_layout.columns;
  const bool fits = (a_transposed ? a_layout.columns : a_layout.rows) == rows &&
                    (b_transposed ? b_layout.rows : b_layout.columns) == columns &&
                    (b_transposed ? b_layout.columns : b_layout.rows) == depth && c_layout.rows == rows && c_layout.columns == columns;
  for (const Layout* layout : {&a_layout, &b_layout, &d_layout})
    if (layout->leading < layout->rows) return CUBLAS_STATUS_INVALID_VALUE;
  if (!fits) return CUBLAS_STATUS_INVALID_VALUE;
  const auto batch = d_layout.get(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, int32_t{1});
  const auto at = [](const Layout& layout, int64_t i, int64_t row, int64_t column) {
    return i * layout.get(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, int64_t{0}) + column * layout.leading + row;
  };
  const float scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  for (int64_t i = 0; i < batch; ++i)
    for (int64_t column = 0; column < columns; ++column)
      for (int64_t row = 0; row < rows; ++row) {
        float sum = 0;
        for (int64_t k = 0; k < depth; ++k)
          sum += read(a, a_layout.type, a_transposed ? at(a_layout, i, k, row) : at(a_layout, i, row, k)) *
                 read(b, b_layout.type, b_transposed ? at(b_layout, i, column, k) : at(b_layout, i, k, column));
        const float before = keep == 0.0f ? 0.0f : keep * read(c, c_layout.type, at(c_layout, i, row, column));
        write(d, d_layout.type, at(d_layout, i, row, column), scale * sum + before);
      }
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
