// A row-major matrix product as the column-major one that cuBLAS computes. Pure host code.
#pragma once

#include <cstdint>

#include "engine/backend/cuda/libraries.h"

namespace actmatch::cuda {

// Element (r, c) of matrix i stands at [i * batch_stride + c * leading + r].
struct ColumnMajor {
  int64_t rows = 0, columns = 0, leading = 0, batch_stride = 0;
};

// result = op(first) op(second). Read column by column, a row-major matrix is its transpose, and C' = op(B)' op(A)': so B comes first,
// nothing moves in memory, and who was transposed still is.
struct MatMulLayout {
  ColumnMajor first, second, result;
  bool transpose_first = false, transpose_second = false;
};
MatMulLayout layout_of(const MatMulKey& key);

}  // namespace actmatch::cuda
