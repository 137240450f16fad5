#include "kernels/depthwise.h"

#include <algorithm>

namespace actmatch::kernels {
namespace {

template <class T>
bool passes_gradient(T y, Activation activation) {
  return activation == Activation::kNone || (y > 0 && (activation == Activation::kRelu || y < 6));
}

}  // namespace

template <class T>
void depthwise_ref(T* y, const T* x, const T* filter, const T* bias, const DepthwiseShape& shape, Activation activation) {
  const int64_t C = shape.C;
  for (int64_t n = 0; n < shape.N; ++n)
    for (int64_t i = 0; i < shape.outH; ++i)
      for (int64_t j = 0; j < shape.outW; ++j, y += C) {
        for (int64_t c = 0; c < C; ++c) y[c] = bias ? bias[c] : T(0);
        for (int64_t r = 0; r < 3; ++r)
          for (int64_t s = 0; s < 3; ++s) {
            const int64_t h = i * shape.stride + r - shape.pad_top, w = j * shape.stride + s - shape.pad_left;
            if (h < 0 || h >= shape.H || w < 0 || w >= shape.W) continue;
            const T *in = x + ((n * shape.H + h) * shape.W + w) * C, *tap = filter + (r * 3 + s) * C;
            for (int64_t c = 0; c < C; ++c) y[c] += tap[c] * in[c];
          }
        if (activation == Activation::kNone) continue;
        for (int64_t c = 0; c < C; ++c) {
          y[c] = y[c] < 0 ? T(0) : y[c];
          if (activation == Activation::kRelu6 && y[c] > 6) y[c] = 6;
        }
      }
}

template <class T>
void depthwise_backward_ref(T* dx, const T* dy, const T* y, const T* filter, const DepthwiseShape& shape, Activation activation,
                            bool accumulate) {
  const int64_t C = shape.C;
  if (!accumulate) std::fill_n(dx, shape.N * shape.H * shape.W * C, T(0));
  for (int64_t n = 0; n < shape.N; ++n)
    for (int64_t i = 0; i < shape.outH; ++i)
      for (int64_t j = 0; j < shape.outW; ++j) {
        const int64_t out = ((n * shape.outH + i) * shape.outW + j) * C;
        for (int64_t r = 0; r < 3; ++r)
          for (int64_t s = 0; s < 3; ++s) {
            const int64_t h = i * shape.stride + r - shape.pad_top, w = j * shape.stride + s - shape.pad_left;
            if (h < 0 || h >= shape.H || w < 0 || w >= shape.W) continue;
            T* to = dx + ((n * shape.H + h) * shape.W + w) * C;
            const T* tap = filter + (r * 3 + s) * C;
            for (int64_t c = 0; c < C; ++c) {
              if (activation == Activation::kNone || passes_gradient(y[out + c], activation)) to[c] += tap[c] * dy[out + c];
            }
          }
      }
}

#define ACTMATCH_INSTANTIATE(T)                                                                        \
  template void depthwise_ref<T>(T*, const T*, const T*, const T*, const DepthwiseShape&, Activation); \
  template void depthwise_backward_ref<T>(T*, const T*, const T*, const T*, const DepthwiseShape&, Activation, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
