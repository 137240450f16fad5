#include "engine/backend/cuda/matmul_layout.h"

namespace actmatch::cuda {
namespace {

ColumnMajor reading_rows_as_columns(int64_t rows, int64_t columns, int64_t batch_stride) { return {columns, rows, columns, batch_stride}; }

}  // namespace

MatMulLayout layout_of(const MatMulKey& key) {
  MatMulLayout layout;
  layout.first =
      key.transpose_b ? reading_rows_as_columns(key.N, key.K, key.b_stride) : reading_rows_as_columns(key.K, key.N, key.b_stride);
  layout.second =
      key.transpose_a ? reading_rows_as_columns(key.K, key.M, key.a_stride) : reading_rows_as_columns(key.M, key.K, key.a_stride);
  layout.result = reading_rows_as_columns(key.M, key.N, key.c_stride);
  layout.transpose_first = key.transpose_b;
  layout.transpose_second = key.transpose_a;
  return layout;
}

}  // namespace actmatch::cuda
