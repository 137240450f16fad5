// From mask logits to masks, and from masks to the images the classifier sees.
//
//   soft mask      m = sigmoid((s - t) / T)                    s [B, HW], t and 1/T one number an image
//   hard mask      h = 1[s > t], or exactly the top fraction of s
//   explanation    out = k*x + (1 - k)*background              k is the soft or the hard mask, shared by the channels
//   complement     out = (1 - k)*x + k*background
//
// A step runs P passes over B images as one classifier batch [P*B, C, HW], image n = p*B + b (all images of pass 0 first).
// Straight-through estimation: the forward pass composes with h, and compose_backward gives the gradient to m as if it had been m.
// Everything is row-major but the composed images, whose channels may come last; HW is the number of pixels. Bound by memory traffic, apart
// from the sigmoid's exponential.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/channel_order.h"
#include "kernels/host_device.h"

namespace actmatch::kernels {

// m [B, HW] = sigmoid((s - threshold[b]) * inverse_temperature[b]).
template <class T>
void mask_activate_ref(T* m, const T* s, const T* threshold, const T* inverse_temperature, int64_t B, int64_t HW);

// ds [B, HW] = (or +=) dm * m * (1 - m) * inverse_temperature[b]; the threshold counts as a constant.
template <class T>
void mask_activate_backward_ref(T* ds, const T* dm, const T* m, const T* inverse_temperature, int64_t B, int64_t HW, bool accumulate);

// h [B, HW] = 1 where s > threshold[b], else 0.
template <class T>
void hard_mask_ref(T* h, const T* s, const T* threshold, int64_t B, int64_t HW);

// Pixels in the top fraction: ceil(area * HW), clamped to [0, HW]. The product is lowered by 2^-22 of itself first, so that an area such
// as 0.1f, which is a little above 1/10, still means one pixel in ten. NaN counts as 0.
ACTMATCH_HD inline int64_t top_count(double area, int64_t HW) {
  const auto pixels = static_cast<double>(HW);
  const double wanted = std::ceil(area * pixels * (1 - 0x1p-22));
  if (!(wanted > 0)) return 0;
  return wanted < pixels ? static_cast<int64_t>(wanted) : HW;
}

// h [B, HW] = 1 on exactly top_count(area[b], HW) pixels, those with the largest s; equal values go to the lower index first, so the count
// holds for a constant s too. NaN ranks below everything. threshold [B] is the midpoint between the smallest value kept and the largest
// one dropped (the largest value when nothing is kept, the smallest when nothing is dropped). h or threshold may be null.
// A radix selection over the bits of the numbers: linear time, no scratch memory.
template <class T>
void top_fraction_mask_ref(T* h, T* threshold, const T* s, const T* area, int64_t B, int64_t HW);

enum class BackgroundLayout : uint8_t {
  kColour,         // [C]: one value a channel
  kImage,          // [C, HW]: one image for the whole batch
  kImagePerItem,   // [B, C, HW]
  kColourPerItem,  // [B, C]
};

template <class T>
struct ComposePass {
  bool complement = false;
  BackgroundLayout layout = BackgroundLayout::kColour;
  const T* mask = nullptr;        // [B, HW] used in the forward pass; not read by the backward pass
  const T* background = nullptr;  // in network units, shape by `layout`
};

// out [P*B, C, HW], with its channels in the order given, from x [B, C, HW], whose channels come first as those of backgrounds do.
// `passes` is a host array of P entries.
template <class T>
void compose_ref(T* out, const T* x, const ComposePass<T>* passes, ChannelOrder order, int64_t B, int64_t P, int64_t C, int64_t HW);

// dmask [B, HW] = (or +=) sum over p and c of sign_p * dout[p*B+b, c] * (x[b, c] - background), sign +1 for an explanation and -1 for a
// complement. All passes add to the one dmask, in order of p, then c. `order`: of the channels of dout.
template <class T>
void compose_backward_ref(T* dmask, const T* dout, const T* x, const ComposePass<T>* passes, ChannelOrder order, int64_t B, int64_t P,
                          int64_t C, int64_t HW, bool accumulate);

}  // namespace actmatch::kernels
