// Distances between the classifier's activation on the image, phi(x), and on a composed image, phi(e), at one tap: value and gradient
// with respect to phi(e). Per image, C channels at HW positions, a = phi(x)[:, i] and v = phi(e)[:, i]:
//
//   kl_channels        mean_i KL(softmax_c(a) || softmax_c(v)),  gradient (q - p) / HW
//   kl_positions       mean_c KL(softmax_i(phi(x)[c]) || softmax_i(phi(e)[c])),  gradient (q - p) / C
//   cosine             1 - mean_i a.v / (|a| |v|); a position where |a| or |v| is at most 1e-8 has cosine 0 and passes no gradient
//   mse                mean (v - a)^2 / max(mean a^2, 1e-12)
//   standardised_mse   mean (std(v) - std(a))^2 with std(u)[c] = (u[c] - mean_i u[c]) / (sigma[c] + 1e-6), sigma the population's standard
//                      deviation over the positions; v's own mean and sigma are differentiated through. A constant map gives zeros.
//
// phi(x) stays the same while a mask is optimised, so what depends on it alone is computed once, by tap_prepare. The distance then reads
// two tensors and writes one. Bound by memory traffic; the two kl kinds by the exponential.
//
// An image's tensors lie as [C, HW] or as [HW, C], all of them alike: as a matrix whose rows are what a kind looks at (the positions of a
// channel, the channels of a position), or whose columns are.
#pragma once

#include <cstdint>

#include "kernels/channel_order.h"

namespace actmatch::kernels {

enum class TapDistance : uint8_t { kKlChannels, kKlPositions, kCosine, kMse, kStandardisedMse };

// prepared [B, C, HW], in the order of channels that is given, and constant [B] from reference = phi(x), likewise; prepared may be the
// reference itself (in place).
//   kl_*: the probabilities p, and mean sum p log p      cosine: a / |a| (0 where guarded), and 0
//   mse: phi(x), and max(mean a^2, 1e-12)                standardised_mse: std(phi(x)), and 0
template <class T>
void tap_prepare_ref(T* prepared, T* constant, const T* reference, TapDistance kind, ChannelOrder order, int64_t B, int64_t C, int64_t HW);

// For n = p*B + b: value[n] = d(phi(x_b), current[n]), and gradient[n] = (or +=) weight[n] * dd/dcurrent[n].
// current and gradient are [P*B, C, HW], in the order of channels that is given, value and weight [P*B]; the value is not weighted.
// gradient may be null, but not `current`.
// Sums along a row are kept in double. Equal inputs give 0 up to rounding (the kl kinds may come out at -1e-7; on CUDA standardised_mse,
// too, at -1e-14).
template <class T>
void tap_distance_ref(T* value, T* gradient, const T* current, const T* prepared, const T* constant, const T* weight, TapDistance kind,
                      ChannelOrder order, int64_t B, int64_t P, int64_t C, int64_t HW, bool accumulate);

}  // namespace actmatch::kernels
