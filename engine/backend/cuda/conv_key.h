// What a convolution on the GPU is, as far as the choice of its plan goes: shape, direction, precision and what is fused to it.
// Pure host code: the plan cache and its tests need no CUDA.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>

namespace actmatch::cuda {

// Tensors are NHWC in memory: x [N, H, W, C], w [K, R, S, C / groups], y [N, out_height, out_width, K]; sizes in elements.
struct ConvShape {
  int64_t N = 1, C = 1, H = 1, W = 1;  // x
  int64_t K = 1, R = 1, S = 1;         // w: output channels, height, width
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right
  std::array<int64_t, 2> dilations{1, 1};   // 1 = dense
  int64_t groups = 1;

  // Less than 1 when the filter does not fit into the padded input.
  int64_t out_height() const;
  int64_t out_width() const;
  auto operator<=>(const ConvShape&) const = default;
};

enum class ConvPass : uint8_t {
  kForward,         // y = act(conv(x, w) [+ residual] [+ bias])
  kBackwardData,    // dx = act'(saved) * (conv_transpose(dy, w) [+ skip])
  kBackwardFilter,  // dw from x and dy; nothing can be fused
};

enum class ConvPrecision : uint8_t {
  kF32,   // fp32 throughout, no tensor cores: the reference
  kTf32,  // fp32 in memory, products of tensor cores with 10 bits of mantissa
  kBf16,  // bf16 in memory, sums in fp32
};

enum class ConvActivation : uint8_t {
  kNone,
  kRelu,
  kClippedRelu,  // min(max(x, 0), ceiling)
};

struct PlanKey {
  ConvPass pass = ConvPass::kForward;
  ConvPrecision precision = ConvPrecision::kF32;
  ConvShape shape;
  bool bias = false;      // forward: + bias [K]
  bool residual = false;  // forward: + a tensor like y; backward data: + the skip connection's gradient, a tensor like dx
  // Forward: of the result. Backward data: of the layer before, whose derivative is taken from its saved output, a tensor like dx.
  ConvActivation activation = ConvActivation::kNone;
  float ceiling = 0.0f;  // kClippedRelu only, > 0; otherwise 0

  auto operator<=>(const PlanKey&) const = default;
};

// The same with less fused to it, for where all of it is not offered or takes more time than the plan with less and a kernel of our own
// behind it (ops/conv_rest.h): a plain ReLU for a clipped one, backward data on its own. Nothing where that is never in question.
std::optional<PlanKey> less_fused(PlanKey key);

// One line, the same for equal keys and different for different ones; for messages and as the name in the cache file, e.g.
// "forward bf16 x 1x56x56x64 w 64x3x3x64 stride 1x1 pad 1,1,1,1 dilation 1x1 groups 1 + bias + relu".
std::string describe(const PlanKey& key);

}  // namespace actmatch::cuda
