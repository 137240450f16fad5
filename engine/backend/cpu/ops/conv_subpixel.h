// The backward pass of a strided convolution with few input channels (the stem of most classifiers), where oneDNN's own code is slow.
//
// With q = s i + a, the gradient dx[c, q] = sum_{k, p: s p + r - pad = q} dy[k, p] w[k, c, r] takes, for each of the s phases a, its own
// subset of the kernel, and is dense in i. So all phases of both axes together are one ordinary convolution of dy, of stride 1, with
// C s_y s_x filters of a smaller kernel, whose channels are then laid out as pixels ("sub-pixel convolution", Shi et al. 2016, section 3).
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "engine/backend/cpu/lowering.h"

namespace actmatch::cpu {

// One axis: R taps, stride s, padding before. dx[s i + a] = sum_t dy[i + t - pad_begin] w[s (pad_begin - t) + a + pad].
struct SubpixelAxis {
  int64_t in, out, kernel, stride, pad;
  int64_t taps() const;                                              // of the small kernel
  int64_t pad_begin() const { return (kernel - 1 - pad) / stride; }  // of the small convolution
  int64_t pad_end() const { return phase_extent() - out - pad_begin() + taps() - 1; }
  int64_t phase_extent() const { return (in + stride - 1) / stride; }
  // The original tap that phase a has at tap t of the small kernel, or none.
  std::optional<int64_t> tap(int64_t a, int64_t t) const;
};

class SubpixelBackward {
 public:
  // For the convolution that is being lowered, with constant weights and the gradient of its output as `dy`; null where it does not pay or
  // oneDNN has no quick code for it.
  static std::unique_ptr<SubpixelBackward> make(Lowering& lowering, const MemoryDesc& dy);

  void plan(Step& step);  // books scratch
  void bind(float* dy);
  void run(float* dx);  // row-major; overwritten
  const std::string& implementation() const { return implementation_; }

 private:
  SubpixelBackward(const dnnl::engine& engine, int64_t N, int64_t C, const std::array<SubpixelAxis, 2>& axes)
      : engine_(engine), stream_(engine), N_(N), C_(C), axes_(axes) {}
  Tensor small_kernel(const Tensor& w) const;

  dnnl::engine engine_;
  dnnl::stream stream_;
  int64_t N_, C_;
  std::array<SubpixelAxis, 2> axes_;
  std::string implementation_;
  dnnl::convolution_forward convolution_;
  MemoryDesc dy_, phases_, weights_desc_, scratchpad_desc_;
  Tensor weights_;
  Scratch *phases_scratch_ = nullptr, *scratchpad_ = nullptr;
  std::unordered_map<int, dnnl::memory> arguments_;
};

}  // namespace actmatch::cpu
