// The operators of the graph: a small set that ONNX operators are lowered to, each with one typed attribute struct.
// Semantics are those of row-major tensors in NCHW order; how a backend lays them out is its own affair.
// Every operator has exactly one output.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "engine/core/tensor.h"

namespace actmatch {

enum class OpKind : uint8_t {
  kConv,           // x NCHW, w KxC/gxRxS, [b K]; or w IxKxC/gxRxS, [b IxK], see instances_of
  kConvTranspose,  // x NCHW, w CxK/gxRxS, [b K]; likewise
  kMatMul,         // a, b, [bias over the last axis]; NumPy batch broadcasting, both at least 2-D
  kPool,           // x NCHW
  kReduce,         // x
  kUnary,          // x
  kBinary,         // a, b with NumPy broadcasting
  kSoftmax,        // x
  kConcat,         // x0, x1, ...
  kReshape,        // x
  kTranspose,      // x
  kSlice,          // x
  kPad,            // x
  kGather,         // x, indices (i64)
  kWhere,          // condition (bool), a, b with broadcasting
  kExpand,         // x
  kScaleShift,     // x with channels on axis 1, scale C, shift C
  kBatchNorm,      // x, gamma C, beta C, mean C, variance C; frozen statistics; removed by the passes
  kCast,           // x
  kResize,         // x NCHW, spatial axes only
  kTopK,           // x f32 or i64; gives the positions (i64) of its largest elements along an axis
};

struct ConvAttrs {
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right
  std::array<int64_t, 2> dilations{1, 1};   // 1 = dense
  int64_t groups = 1;
};
struct ConvTransposeAttrs {
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};
  std::array<int64_t, 2> dilations{1, 1};
  std::array<int64_t, 2> output_padding{0, 0};
  int64_t groups = 1;
};
// Weights of a fifth axis in front, and a bias of a second one, belong to one part of the batch each: the batch is cut into as many equal
// consecutive parts as that axis is long. So several images train nets of their own in one graph.
inline bool has_instances(const Shape& w) { return w.size() == 5; }
inline int64_t instances_of(const Shape& w) { return has_instances(w) ? w[0] : 1; }
// The weights of one part.
inline Shape instance_shape(const Shape& w) { return has_instances(w) ? Shape(w.begin() + 1, w.end()) : w; }
struct MatMulAttrs {
  bool transpose_a = false;  // swaps the last two axes
  bool transpose_b = false;
};
enum class PoolMode : uint8_t { kMax, kAverageIncludePad, kAverageExcludePad };
struct PoolAttrs {
  PoolMode mode = PoolMode::kMax;
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};
  std::array<int64_t, 2> dilations{1, 1};
  bool ceil_mode = false;  // windows may start inside the input or its begin padding and end past the end padding
};
enum class ReduceKind : uint8_t { kSum, kMean, kMax, kMin };
struct ReduceAttrs {
  ReduceKind kind = ReduceKind::kMean;
  std::vector<int64_t> axes;  // positive, ascending
  bool keep_dims = true;
};
enum class UnaryKind : uint8_t {
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
struct UnaryAttrs {
  UnaryKind kind = UnaryKind::kRelu;
  float alpha = 0.0f;
  float beta = 0.0f;
};
enum class BinaryKind : uint8_t {
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
  kOr,  // these give bool
};
struct BinaryAttrs {
  BinaryKind kind = BinaryKind::kAdd;
};
struct SoftmaxAttrs {
  int64_t axis = 1;  // positive
  bool log = false;
};
struct ConcatAttrs {
  int64_t axis = 1;  // positive
};
struct ReshapeAttrs {
  Shape shape;  // complete: no 0 and no -1 left
};
struct TransposeAttrs {
  std::vector<int64_t> perm;
};
struct SliceAttrs {  // one entry an axis; out = x[start + i*step], i < size
  std::vector<int64_t> starts, steps, sizes;
};
enum class PadMode : uint8_t { kConstant, kReflect, kEdge };
struct PadAttrs {  // one entry an axis; negative amounts crop
  std::vector<int64_t> before, after;
  PadMode mode = PadMode::kConstant;
  float value = 0.0f;
};
struct GatherAttrs {
  int64_t axis = 0;
};
struct WhereAttrs {};
struct ExpandAttrs {
  Shape shape;  // the complete output shape
};
struct ScaleShiftAttrs {};
struct BatchNormAttrs {
  float epsilon = 1e-5f;
};
struct CastAttrs {
  DType to = DType::kF32;
};
enum class ResizeMode : uint8_t { kNearest, kLinear };
struct ResizeAttrs {
  ResizeMode mode = ResizeMode::kLinear;  // source coordinate (i + 1/2) * in/out - 1/2, clamped to the input; nearest: floor(i * in/out)
  int64_t height = 0, width = 0;
};
struct TopKAttrs {
  int64_t axis = 0, k = 1;
  bool largest = true;      // in falling order; otherwise the smallest, rising. NaN counts as larger than any number
  bool last_first = false;  // of equal elements the one with the higher position comes first
};

using Attributes =
    std::variant<ConvAttrs, ConvTransposeAttrs, MatMulAttrs, PoolAttrs, ReduceAttrs, UnaryAttrs, BinaryAttrs, SoftmaxAttrs, ConcatAttrs,
                 ReshapeAttrs, TransposeAttrs, SliceAttrs, PadAttrs, GatherAttrs, WhereAttrs, ExpandAttrs, ScaleShiftAttrs, BatchNormAttrs,
                 CastAttrs, ResizeAttrs, TopKAttrs>;  // in the order of OpKind: the variant's index is the kind

inline OpKind kind_of(const Attributes& attrs) { return static_cast<OpKind>(attrs.index()); }
const char* name_of(OpKind kind);
const char* name_of(UnaryKind kind);
const char* name_of(BinaryKind kind);

}  // namespace actmatch
