#include "engine/backend/cuda/conv_key.h"

#include <charconv>
#include <initializer_list>

namespace actmatch::cuda {
namespace {

std::string join(std::initializer_list<int64_t> values, char separator) {
  std::string text;
  for (int64_t value : values) {
    if (!text.empty()) text += separator;
    text += std::to_string(value);
  }
  return text;
}

// The shortest text that reads back as the same float.
std::string shortest(float value) {
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value);
  return {digits, error == std::errc() ? end : digits};
}

int64_t out_extent(int64_t in, int64_t pad, int64_t filter, int64_t dilation, int64_t stride) {
  const int64_t room = in + pad - (dilation * (filter - 1) + 1);
  return room < 0 || stride < 1 ? 0 : room / stride + 1;
}

}  // namespace

int64_t ConvShape::out_height() const { return out_extent(H, pads[0] + pads[2], R, dilations[0], strides[0]); }
int64_t ConvShape::out_width() const { return out_extent(W, pads[1] + pads[3], S, dilations[1], strides[1]); }

std::optional<PlanKey> less_fused(PlanKey key) {
  if (key.pass == ConvPass::kForward && key.activation == ConvActivation::kClippedRelu) {
    key.activation = ConvActivation::kRelu;
  } else if (key.pass == ConvPass::kBackwardData && (key.residual || key.activation != ConvActivation::kNone)) {
    key.residual = false;
    key.activation = ConvActivation::kNone;
  } else {
    return std::nullopt;
  }
  key.ceiling = 0.0f;
  return key;
}

std::string describe(const PlanKey& key) {
  const ConvShape& s = key.shape;
  std::string text = key.pass == ConvPass::kForward ? "forward" : key.pass == ConvPass::kBackwardData ? "backward-data" : "backward-filter";
  text += key.precision == ConvPrecision::kF32 ? " fp32" : key.precision == ConvPrecision::kTf32 ? " tf32" : " bf16";
  text += " x " + join({s.N, s.H, s.W, s.C}, 'x') + " w " + join({s.K, s.R, s.S, s.groups > 0 ? s.C / s.groups : 0}, 'x');
  text += " stride " + join({s.strides[0], s.strides[1]}, 'x') + " pad " + join({s.pads[0], s.pads[1], s.pads[2], s.pads[3]}, ',');
  text += " dilation " + join({s.dilations[0], s.dilations[1]}, 'x') + " groups " + std::to_string(s.groups);
  if (key.residual) text += key.pass == ConvPass::kForward ? " + residual" : " + skip";
  if (key.bias) text += " + bias";
  if (key.activation == ConvActivation::kRelu) text += " + relu";
  if (key.activation == ConvActivation::kClippedRelu) text += " + relu up to " + shortest(key.ceiling);
  return text;
}

}  // namespace actmatch::cuda
