// What the kernels of the tap distances share. Each kind's first launch leaves one partial sum (double) for a block, or for a row; then one
// block an image adds them in order and makes the value of the sum.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/common/reduce.cuh"
#include "kernels/tap_distance.h"

namespace actmatch::kernels::cuda {

// Without prepared and constant these are the arguments of tap_prepare: current = reference, P = 1.
struct TapShape {
  int64_t B, P, C, HW;
};
struct TapDistanceArguments {
  float* gradient;
  const float *current, *prepared, *constant, *weight;
  TapShape shape;
  bool accumulate;
};
struct TapPrepareArguments {
  float* prepared;
  const float* reference;
  TapShape shape;
};

// Partial sums an image, and the launches that make them, by the way the kind goes through memory: a column of channels at a position (KL
// over channels, cosine), a row of positions (KL over positions, standardised), or all alike (MSE).
int64_t tap_column_partials(const TapShape& shape);
cudaError_t tap_columns(cudaStream_t stream, double* partial, const TapDistanceArguments& a, TapDistance kind);
cudaError_t tap_columns_prepare(cudaStream_t stream, double* partial, const TapPrepareArguments& a, TapDistance kind);
int64_t tap_row_partials(const TapShape& shape);
cudaError_t tap_rows(cudaStream_t stream, double* partial, const TapDistanceArguments& a, TapDistance kind);
cudaError_t tap_rows_prepare(cudaStream_t stream, double* partial, const TapPrepareArguments& a, TapDistance kind);
int64_t tap_mse_partials(const TapShape& shape);
cudaError_t tap_mse(cudaStream_t stream, double* partial, const TapDistanceArguments& a);
cudaError_t tap_mse_prepare(cudaStream_t stream, double* partial, const TapPrepareArguments& a);

}  // namespace actmatch::kernels::cuda
