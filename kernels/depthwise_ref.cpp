#include "kernels/depthwise.h"

#include <algorithm>

namespace actmatch::kernels {
template <class T>
void depthwise_ref(T* y, const T* x, const T* filter, const T* bias, const DepthwiseShape& shape, const Clip& clip) {
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
        for (int64_t c = 0; c < C; ++c) y[c] = clip(y[c]);
      }
}

template <class T>
void depthwise_backward_ref(T* dx, const T* dy, const T* y, const T* filter, const DepthwiseShape& shape, const Clip& clip,
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
              if (!clip.changes() || clip.passes(y[out + c])) to[c] += tap[c] * dy[out + c];
            }
          }
      }
}

#define ACTMATCH_INSTANTIATE(T)                                                                         \
  template void depthwise_ref<T>(T*, const T*, const T*, const T*, const DepthwiseShape&, const Clip&); \
  template void depthwise_backward_ref<T>(T*, const T*, const T*, const T*, const DepthwiseShape&, const Clip&, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
