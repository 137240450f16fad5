// The operators of the graph on CUDA: elementwise functions, broadcasting, movement, reductions, softmax, pooling and a plain matrix
// product. The rules of cuda.h hold here too: pointers are device memory, a launcher only launches on `stream`, sums run in a fixed order,
// empty work launches nothing, and the error of the launch comes back. cudaErrorInvalidValue: arguments outside what is said here.
//
//   - T is float or bfloat16: what is stored. Arithmetic and sums are fp32, rounded once when stored. `accumulate` adds to what is there.
//   - A tensor is a pointer and strides in elements, so row-major and channels-last (NHWC) look the same to a kernel. `extents` are those
//   of
//     the walk, and every tensor has one stride an axis: 0 where it is broadcast. Order and mergeable axes do not matter: axes are sorted
//     and merged on the host, and what is contiguous then is moved 16 bytes at a time where pointers and extents allow. Strides may be
//     negative; the pointer then is that of index 0. A tensor that is written has no stride of 0 (but for extents of 1), except for the
//     result of a sum, where a stride of 0 says which axes are summed.
//   - Indices are computed in 32 bits; work that spans more is split into several launches, along axes that are not summed.
//   - In place: an elementwise result may be the same tensor, with the same strides, as one of its inputs of the same type.
//   - NaN: passed on by every function, clips and maxima among them; the gradient at a NaN is 0 where the function has a flat side.
//   - Results do not depend on the extents of axes that are not summed: an image's bits are the same in every batch.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/clip.h"

namespace actmatch::kernels::cuda {

inline constexpr int kMaxRank = 8;

// Extents or strides, one an axis. A rank beyond kMaxRank is kept as a number only, and refused by the launchers.
struct Dims {
  int rank = 0;
  int64_t at[kMaxRank] = {};

  Dims() = default;
  Dims(std::initializer_list<int64_t> values) : Dims(values.begin(), values.end()) {}
  Dims(const std::vector<int64_t>& values) : Dims(values.begin(), values.end()) {}
  template <class Iterator>
  Dims(Iterator begin, Iterator end) {
    for (; begin != end; ++begin, ++rank)
      if (rank < kMaxRank) at[rank] = *begin;
  }
};
Dims contiguous_strides(const Dims& extents);  // row-major

// ---- movement (strided.cu, transpose.cu, indexed.cu)

// y (+)= x, converted. To, From: any two of float, bfloat16, uint8_t (bool: v != 0 becomes 1), int64_t (truncates). accumulate: only for
// float and bfloat16. Where another axis is contiguous in x than in y (NCHW <-> NHWC), through tiles in shared memory.
template <class To, class From>
cudaError_t copy_strided(cudaStream_t stream, To* y, const From* x, const Dims& extents, const Dims& y_strides, const Dims& x_strides,
                         bool accumulate);
// The frequent case: y [n][b][a] = x [n][a][b]. NCHW -> NHWC: n = N, a = C, b = HW; NHWC -> NCHW: a = HW, b = C.
template <class To, class From>
cudaError_t transpose(cudaStream_t stream, To* y, const From* x, int64_t n, int64_t a, int64_t b, bool accumulate);

// y[i*inner + k] = index[i] < 0 ? fill : x[index[i]*inner + k] for i < count, k < inner: padding by edge or reflection, gathering of rows.
// T: float, bfloat16, uint8_t, int64_t.
template <class T>
cudaError_t gather_indexed(cudaStream_t stream, T* y, const T* x, const int32_t* index, int64_t count, int64_t inner, float fill);
// Its gradient: dx[j*inner + k] (+)= sum over l in [offsets[j], offsets[j+1]) of dy[list[l]*inner + k], in this order, for j < count.
// offsets has count + 1 entries; list holds the i with index[i] = j, those of each j one after another.
template <class T>
cudaError_t gather_indexed_backward(cudaStream_t stream, T* dx, const T* dy, const int32_t* offsets, const int32_t* list, int64_t count,
                                    int64_t inner, bool accumulate);

cudaError_t fill(cudaStream_t stream, bfloat16* x, float value, int64_t count);  // float: cuda.h

// to = from, several arrays of numbers that lie alike; `arrays` is read before the call returns, and goes in one launch up to 48 of them.
struct Narrowing {
  bfloat16* to = nullptr;
  const float* from = nullptr;
  int64_t count = 0;
};
cudaError_t narrow(cudaStream_t stream, std::span<const Narrowing> arrays);

// ---- elementwise, contiguous (unary.cu, elementwise.cu)

// In the order of UnaryKind in engine/graph/op.h.
enum class UnaryOp : uint8_t {
  kRelu,
  kLeakyRelu /* alpha: slope */,
  kClip /* alpha: low, beta: high */,
  kSigmoid,
  kTanh,
  kExp,
  kLog,
  kSqrt,
  kReciprocal,
  kNeg,
  kAbs,
  kErf,
  kHardSigmoid /* clip(alpha x + beta, 0, 1) */,
  kHardSwish /* x clip(x/6 + 1/2, 0, 1) */,
  kElu /* alpha */,
  kSoftplus,
  kFloor,
  kCeil,
  kRound /* halves to even */,
  kSin,
  kCos,
  kTan,
  kAsin,
  kAcos,
  kAtan,
  kSinh,
  kCosh,
  kAsinh,
  kAcosh,
  kAtanh,
  kGelu /* x/2 (1 + erf(x / sqrt 2)) */,
  kGeluTanh /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */,
  kNot,
  kIdentity,
};
// y[i] = f(x[i]). In whatever order the tensor lies, as long as x and y lie alike. kNot: 1 where x = 0.
template <class T>
cudaError_t unary(cudaStream_t stream, T* y, const T* x, UnaryOp op, float alpha, float beta, int64_t count);
cudaError_t logical_not(cudaStream_t stream, uint8_t* y, const uint8_t* x, int64_t count);
// dx[i] (+)= dy[i] f'(x[i]). Reads y for kRelu, kSigmoid, kTanh, kExp, kSqrt, kReciprocal; neither for kNeg, kIdentity; x for the others:
// what is not read may be null. At a kink the flat side's derivative (0 for abs). kFloor, kCeil, kRound, kNot: cudaErrorInvalidValue.
template <class T>
cudaError_t unary_backward(cudaStream_t stream, T* dx, const T* dy, const T* x, const T* y, UnaryOp op, float alpha, float beta,
                           int64_t count, bool accumulate);

// y = clip(y), in place.
template <class T>
cudaError_t clip_inplace(cudaStream_t stream, T* y, Clip clip, int64_t count);
// dx[i] = clip passes at y[i] ? dy[i] : 0; dx may be dy.
template <class T>
cudaError_t clip_backward(cudaStream_t stream, T* dx, const T* dy, const T* y, Clip clip, int64_t count);
// out[i] = a[i] + b[i], clipped; out may be a or b.
template <class T>
cudaError_t add(cudaStream_t stream, T* out, const T* a, const T* b, Clip clip, int64_t count);
// out[i] = clip passes at y[i] ? a[i] + b[i] : 0: two gradients meet behind an activation. out may be a or b.
template <class T>
cudaError_t add_clip_backward(cudaStream_t stream, T* out, const T* a, const T* b, const T* y, Clip clip, int64_t count);
// y[i] (+)= scale * x[i]; To and From: float or bfloat16.
template <class To, class From>
cudaError_t scale(cudaStream_t stream, To* y, const From* x, float factor, int64_t count, bool accumulate);

// ---- elementwise with broadcasting (binary.cu, where.cu, scale_shift.cu)

// In the order of BinaryKind in engine/graph/op.h.
enum class BinaryOp : uint8_t {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kPow,
  kMin,
  kMax,
  kEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kAnd,
  kOr
};

// y = clip(a op b), for kAdd .. kMax.
template <class T>
cudaError_t binary(cudaStream_t stream, T* y, const T* a, const T* b, BinaryOp op, const Dims& extents, const Dims& y_strides,
                   const Dims& a_strides, const Dims& b_strides, Clip clip);
// y = a op b as 0 or 1, for kEqual .. kOr. T: float, bfloat16, uint8_t, int64_t. A NaN compares as unequal.
template <class T>
cudaError_t compare(cudaStream_t stream, uint8_t* y, const T* a, const T* b, BinaryOp op, const Dims& extents, const Dims& y_strides,
                    const Dims& a_strides, const Dims& b_strides);
// The gradient of `binary` (before its clip: give clip_backward's result as dy) with respect to one operand:
//   dx (+)= sum over the axes on which that operand is broadcast of dy * d(a op b)/d(operand)
// dx lies like the operand: with a_strides for kFirst, b_strides for kSecond. kMin, kMax: equal operands take half each. kPow: d/da is 0
// where b = 0, d/db is 0 where a = 0. a and b are not read for kAdd, kSub; kMul reads the other operand only, kDiv for kFirst b only: what
// is not read may be null. scratch: reduce_scratch_bytes(extents, strides of the operand).
enum class Side : uint8_t { kFirst, kSecond };
template <class T>
cudaError_t binary_backward(cudaStream_t stream, T* dx, const T* dy, const T* a, const T* b, BinaryOp op, Side side, const Dims& extents,
                            const Dims& dy_strides, const Dims& a_strides, const Dims& b_strides, bool accumulate, void* scratch);

// y = condition ? a : b. T: float, bfloat16, uint8_t, int64_t.
template <class T>
cudaError_t where(cudaStream_t stream, T* y, const uint8_t* condition, const T* a, const T* b, const Dims& extents, const Dims& y_strides,
                  const Dims& condition_strides, const Dims& a_strides, const Dims& b_strides);
// dx (+)= sum over the axes on which the operand is broadcast of (condition chose this side ? dy : 0); kFirst: a. dx_strides are the
// operand's. scratch: reduce_scratch_bytes(extents, dx_strides).
template <class T>
cudaError_t where_backward(cudaStream_t stream, T* dx, const T* dy, const uint8_t* condition, Side side, const Dims& extents,
                           const Dims& dx_strides, const Dims& dy_strides, const Dims& condition_strides, bool accumulate, void* scratch);

// x and y are [outer][C][inner]: row-major NCHW has outer = N, inner = HW; NHWC has outer = NHW, inner = 1. scale and shift [C] are fp32.
// y = clip(x * scale[c] + shift[c]); shift may be null (0).
template <class T>
cudaError_t scale_shift(cudaStream_t stream, T* y, const T* x, const float* scale, const float* shift, int64_t outer, int64_t C,
                        int64_t inner, Clip clip);
// dx (+)= dy * scale[c]
template <class T>
cudaError_t scale_shift_backward(cudaStream_t stream, T* dx, const T* dy, const float* scale, int64_t outer, int64_t C, int64_t inner,
                                 bool accumulate);
// dscale[c] (+)= sum dy x, dshift[c] (+)= sum dy; one of them may be null. scratch: reduce_scratch_bytes(C, outer * inner).
template <class T>
cudaError_t scale_shift_backward_channels(cudaStream_t stream, float* dscale, float* dshift, const T* dy, const T* x, int64_t outer,
                                          int64_t C, int64_t inner, bool accumulate, void* scratch);

// ---- reductions (reduce.cu, softmax.cu)

// Scratch for every sum here: fp32 partial sums, when `reduced` numbers a result are too many for one block. Extents with the strides of
// the result (0: summed) say the same. Aligned to 4.
size_t reduce_scratch_bytes(int64_t kept, int64_t reduced);
size_t reduce_scratch_bytes(const Dims& extents, const Dims& y_strides);

enum class ReduceOp : uint8_t { kSum, kMean, kMax, kMin };  // in the order of ReduceKind in engine/graph/op.h
// y (+)= op over the axes where y_strides is 0 of x. (To, From): (float, float), (bfloat16, bfloat16), (float, bfloat16). accumulate: not
// for kMax, kMin. No numbers to reduce: a sum of 0; cudaErrorInvalidValue for the others. Also the gradient of a broadcast (kSum) and of a
// bias: extents {M, N}, y_strides {0, 1}.
template <class To, class From>
cudaError_t reduce(cudaStream_t stream, To* y, const From* x, ReduceOp op, const Dims& extents, const Dims& y_strides,
                   const Dims& x_strides, bool accumulate, void* scratch);
// db[n] (+)= sum over m of dy[m][n]: reduce for a row-major [M, N]. scratch: reduce_scratch_bytes(N, M).
template <class To, class From>
cudaError_t bias_gradient(cudaStream_t stream, To* db, const From* dy, int64_t M, int64_t N, bool accumulate, void* scratch);
// dx (+)= the share of dy: all of it for kSum, 1/count for kMean; for kMax and kMin the elements x equal to y share it equally. dx lies
// like x, dy like y (strides 0 on the reduced axes). x and y are read for kMax, kMin only. scratch: reduce_backward_scratch_bytes(op,
// extents, y_strides).
size_t reduce_backward_scratch_bytes(ReduceOp op, const Dims& extents, const Dims& y_strides);
template <class T>
cudaError_t reduce_backward(cudaStream_t stream, T* dx, const T* dy, const T* x, const T* y, ReduceOp op, const Dims& extents,
                            const Dims& x_strides, const Dims& y_strides, bool accumulate, void* scratch);

// Over the middle axis of [outer][extent][inner]: y = exp(x - m) / sum, or x - m - log(sum), with m the largest x of the line. y may be x.
template <class T>
cudaError_t softmax(cudaStream_t stream, T* y, const T* x, bool log, int64_t outer, int64_t extent, int64_t inner);
// dx (+)= y (dy - sum dy y), or for the logarithm dy - exp(y) sum dy. dx may be dy.
template <class T>
cudaError_t softmax_backward(cudaStream_t stream, T* dx, const T* dy, const T* y, bool log, int64_t outer, int64_t extent, int64_t inner,
                             bool accumulate);

// ---- windows (pool.cu, resize.cu)

// x [N, H, W, C], y [N, out_h, out_w, C]. Output (i, j) covers the inputs i * stride - pad_begin + t * dilation, t < kernel, as far as they
// lie inside; with ceil mode that is how out_h and out_w come to be larger, nothing else. A row-major NCHW is N*C images of one channel.
// out_h, out_w, kernel, pads: below 2^31.
struct PoolShape {
  int64_t N = 0, H = 0, W = 0, C = 0;
  int64_t out_h = 0, out_w = 0;
  int64_t kernel[2] = {1, 1}, strides[2] = {1, 1}, pads[4] = {0, 0, 0, 0} /* top, left, bottom, right */, dilations[2] = {1, 1};
};
// The largest; of equals the first in row-major order. winner (may be null when there is no backward pass): which tap of the window that
// was, a byte for windows of up to 255 taps, else 4; max_pool_winner_bytes(shape) bytes, aligned to 16.
size_t max_pool_winner_bytes(const PoolShape& shape);
template <class T>
cudaError_t max_pool(cudaStream_t stream, T* y, void* winner, const T* x, const PoolShape& shape);
// dx (+)= sum of the dy of the windows that the element won.
template <class T>
cudaError_t max_pool_backward(cudaStream_t stream, T* dx, const T* dy, const void* winner, const PoolShape& shape, bool accumulate);
// The mean of the window's inputs; include_pad: taps on the padding count as zeros, taps past the end padding (ceil mode) do not count.
template <class T>
cudaError_t average_pool(cudaStream_t stream, T* y, const T* x, const PoolShape& shape, bool include_pad);
template <class T>
cudaError_t average_pool_backward(cudaStream_t stream, T* dx, const T* dy, const PoolShape& shape, bool include_pad, bool accumulate);

enum class ResizeOp : uint8_t { kNearest, kLinear };  // in the order of ResizeMode in engine/graph/op.h
// x [N, h, w, C] -> y [N, H, W, C], coordinates as in upsample.h; row-major planes are N = planes, C = 1.
template <class T>
cudaError_t resize(cudaStream_t stream, T* y, const T* x, ResizeOp op, int64_t N, int64_t h, int64_t w, int64_t H, int64_t W, int64_t C);
template <class T>
cudaError_t resize_backward(cudaStream_t stream, T* dx, const T* dy, ResizeOp op, int64_t N, int64_t h, int64_t w, int64_t H, int64_t W,
                            int64_t C, bool accumulate);

// ---- matrix product (gemm.cu)

// c[i] = clip([c[i] +] op(a[i]) op(b[i]) + bias) for i < batch; matrices are row-major and dense: op(a) is M x K (stored K x M when
// transposed), op(b) K x N, c M x N; strides from one matrix to the next in elements, 0 repeats it (not for c).
struct GemmShape {
  int64_t M = 1, N = 1, K = 1, batch = 1;
  bool transpose_a = false, transpose_b = false;
  int64_t a_stride = 0, b_stride = 0, c_stride = 0;
};
// (To, From): (float, float), (bfloat16, bfloat16), (float, bfloat16). bias [N] may be null. K = 0 gives the bias.
template <class To, class From>
cudaError_t gemm(cudaStream_t stream, To* c, const From* a, const From* b, const To* bias, const GemmShape& shape, bool accumulate,
                 Clip clip);

}  // namespace actmatch::kernels::cuda
