// Losses on the classifier's logits z, and what the controller reads off them. A step's logits are [P*B, K], row n = p*B + b;
// what belongs to the image alone (label, logits on the image itself) is given per image b. Every loss gives
//
//   value[n]                      unweighted
//   gradient[n, :] = (or +=)      weight[n] * d value[n] / d z[n, :]     gradient may be null
//
// Labels must lie in [0, K). Exponentials are taken of z - max z, so large logits are safe; row sums are kept in double.
// Bound by latency: K is about a thousand.
#pragma once

#include <cstdint>

namespace actmatch::kernels {

// p [N, K] = softmax over a row; log_softmax gives its logarithm. In place is allowed.
template <class T>
void softmax_ref(T* p, const T* z, int64_t N, int64_t K);
template <class T>
void log_softmax_ref(T* log_p, const T* z, int64_t N, int64_t K);

// temperature^2 * KL(softmax(target / temperature) || softmax(z / temperature)), target [B, K] the logits on the image.
// d/dz = temperature * (q - p).
template <class T>
void kl_logits_ref(T* value, T* gradient, const T* z, const T* target, const T* weight, T temperature, int64_t B, int64_t P, int64_t K,
                   bool accumulate);

// Cross-entropy -log softmax(z)[label].
template <class T>
void cross_entropy_ref(T* value, T* gradient, const T* z, const int32_t* label, const T* weight, int64_t B, int64_t P, int64_t K,
                       bool accumulate);

// max(0, margin - (z[label] - max over j != label of z[j])): zero once the label leads by the margin. Subgradient: zero at the kink, the
// first of several equal rivals takes it all. K = 1 has no rival and gives zero.
template <class T>
void margin_hinge_ref(T* value, T* gradient, const T* z, const int32_t* label, const T* weight, T margin, int64_t B, int64_t P, int64_t K,
                      bool accumulate);

// Necessity on the complement, hinge form: max(0, margin - (target[b, label] - z[n, label])), target [B, K] the logits on the image.
template <class T>
void necessity_hinge_ref(T* value, T* gradient, const T* z, const T* target, const int32_t* label, const T* weight, T margin, int64_t B,
                         int64_t P, int64_t K, bool accumulate);

// Necessity, logarithmic form: -log(1 - softmax(z)[label]) = logsumexp(z) - logsumexp over j != label. Grows linearly where the label's
// probability rounds to 1. Needs K >= 2; K = 1 has no other class and gives zero.
template <class T>
void necessity_log_ref(T* value, T* gradient, const T* z, const int32_t* label, const T* weight, int64_t B, int64_t P, int64_t K,
                       bool accumulate);

// For rows n of z [P*B, K]: top[n] the first index of the largest logit, -1 when the row holds a NaN; p_label[n] = softmax(z)[label[b]]
// (NaN then). Either output may be null.
template <class T>
void class_scores_ref(int32_t* top, T* p_label, const T* z, const int32_t* label, int64_t B, int64_t P, int64_t K);

}  // namespace actmatch::kernels
