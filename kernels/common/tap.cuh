// What the kernels of the tap distances share. Each kind's first launch leaves one partial sum (double) for a block; then one
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

// Partial sums an image, and the launches that make them: of the kinds that look along lines (the channels of a position, the positions of
// a channel), and of MSE, to which all numbers are alike.
int64_t tap_line_partials(const TapShape& shape, TapDistance kind);
cudaError_t tap_lines(cudaStream_t stream, double* partial, const TapDistanceArguments& a, TapDistance kind, ChannelOrder order);
cudaError_t tap_lines_prepare(cudaStream_t stream, double* partial, const TapPrepareArguments& a, TapDistance kind, ChannelOrder order);
int64_t tap_mse_partials(const TapShape& shape);
cudaError_t tap_mse(cudaStream_t stream, double* partial, const TapDistanceArguments& a);
cudaError_t tap_mse_prepare(cudaStream_t stream, double* partial, const TapPrepareArguments& a);

}  // namespace actmatch::kernels::cuda
