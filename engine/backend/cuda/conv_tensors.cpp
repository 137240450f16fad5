#include "engine/backend/cuda/conv_tensors.h"

#include <cstdint>
#include <string>

#include "engine/core/error.h"

namespace actmatch::cuda {

ConvBytes bytes_of(const PlanKey& key) {
  const ConvShape& s = key.shape;
  const size_t element = key.precision == ConvPrecision::kBf16 ? 2 : 4;
  const auto bytes = [element](int64_t a, int64_t b, int64_t c, int64_t d) { return static_cast<size_t>(a * b * c * d) * element; };
  ConvBytes sizes;
  sizes.x = bytes(s.N, s.H, s.W, s.C);
  sizes.w = bytes(s.K, s.R, s.S, s.groups > 0 ? s.C / s.groups : 0);
  sizes.y = bytes(s.N, s.out_height(), s.out_width(), s.K);
  const bool forward = key.pass == ConvPass::kForward, data = key.pass == ConvPass::kBackwardData;
  if (forward && key.bias) sizes.bias = bytes(s.K, 1, 1, 1);
  if ((forward || data) && key.residual) sizes.addend = forward ? sizes.y : sizes.x;
  if (data && key.activation != ConvActivation::kNone) sizes.saved = sizes.x;
  return sizes;
}

void require_tensors(const PlanKey& key, const ConvTensors& tensors) {
  const ConvBytes sizes = bytes_of(key);
  const auto require = [&key](const char* name, const void* address, size_t bytes) {
    ACTMATCH_CHECK((address != nullptr) == (bytes != 0),
                   std::string(address ? "a tensor too many, " : "no address for ") + name + ": " + describe(key));
    ACTMATCH_CHECK(reinterpret_cast<uintptr_t>(address) % kConvAlignment == 0, std::string(name) + " is not aligned: " + describe(key));
  };
  require("x", tensors.x, sizes.x);
  require("w", tensors.w, sizes.w);
  require("y", tensors.y, sizes.y);
  require("bias", tensors.bias, sizes.bias);
  require("addend", tensors.addend, sizes.addend);
  require("saved", tensors.saved, sizes.saved);
}

}  // namespace actmatch::cuda
