#include "kernels/conv.h"

#include <algorithm>

namespace actmatch::kernels {
namespace {

// f(offset in x, in w, in y) of every product.
template <class F>
void each_product(const ConvShape& s, F f) {
  const int64_t channels = s.C / s.groups, filters = s.K / s.groups, images = s.N / s.instances;
  for (int64_t n = 0; n < s.N; ++n)
    for (int64_t p = 0; p < s.P; ++p)
      for (int64_t q = 0; q < s.Q; ++q)
        for (int64_t k = 0; k < s.K; ++k)
          for (int64_t r = 0; r < s.R; ++r)
            for (int64_t t = 0; t < s.S; ++t) {
              const int64_t h = p * s.stride_h + r * s.dilation_h - s.pad_top, w = q * s.stride_w + t * s.dilation_w - s.pad_left;
              if (h < 0 || h >= s.H || w < 0 || w >= s.W) continue;
              for (int64_t c = 0; c < channels; ++c)
                f(((n * s.H + h) * s.W + w) * s.C + k / filters * channels + c,
                  (((n / images * s.K + k) * s.R + r) * s.S + t) * channels + c, ((n * s.P + p) * s.Q + q) * s.K + k);
            }
}

template <class T>
void begin(T* result, const T* bias, const T* addend, int64_t images, int64_t N, int64_t positions, int64_t channels) {
  for (int64_t n = 0; n < N; ++n)
    for (int64_t i = n * positions * channels; i < (n + 1) * positions * channels; ++i)
      result[i] = (bias ? bias[n / images * channels + i % channels] : T(0)) + (addend ? addend[i] : T(0));
}

}  // namespace

template <class T>
void conv_ref(T* y, const T* x, const T* w, const T* bias, const T* addend, const ConvShape& shape, const Clip& clip) {
  begin(y, bias, addend, shape.N / shape.instances, shape.N, shape.P * shape.Q, shape.K);
  each_product(shape, [&](int64_t ix, int64_t iw, int64_t iy) { y[iy] += x[ix] * w[iw]; });
  for (int64_t i = 0; i < shape.N * shape.P * shape.Q * shape.K; ++i) y[i] = clip(y[i]);
}

template <class T>
void conv_backward_data_ref(T* dx, const T* dy, const T* w, const T* bias, const T* addend, const ConvShape& shape, const Clip& clip) {
  begin(dx, bias, addend, shape.N / shape.instances, shape.N, shape.H * shape.W, shape.C);
  each_product(shape, [&](int64_t ix, int64_t iw, int64_t iy) { dx[ix] += dy[iy] * w[iw]; });
  for (int64_t i = 0; i < shape.N * shape.H * shape.W * shape.C; ++i) dx[i] = clip(dx[i]);
}

template <class T>
void conv_backward_filter_ref(T* dw, const T* x, const T* dy, const ConvShape& shape, bool accumulate) {
  if (!accumulate) std::fill_n(dw, shape.instances * shape.K * shape.R * shape.S * (shape.C / shape.groups), T(0));
  each_product(shape, [&](int64_t ix, int64_t iw, int64_t iy) { dw[iw] += dy[iy] * x[ix]; });
}

template <class T>
void conv_backward_bias_ref(T* db, const T* dy, int64_t N, int64_t positions, int64_t channels, int64_t instances, bool accumulate) {
  if (!accumulate) std::fill_n(db, instances * channels, T(0));
  for (int64_t n = 0; n < N; ++n)
    for (int64_t i = 0; i < positions * channels; ++i)
      db[n / (N / instances) * channels + i % channels] += dy[n * positions * channels + i];
}

#define ACTMATCH_INSTANTIATE(T)                                                                                       \
  template void conv_ref<T>(T*, const T*, const T*, const T*, const T*, const ConvShape&, const Clip&);               \
  template void conv_backward_data_ref<T>(T*, const T*, const T*, const T*, const T*, const ConvShape&, const Clip&); \
  template void conv_backward_filter_ref<T>(T*, const T*, const T*, const ConvShape&, bool);                          \
  template void conv_backward_bias_ref<T>(T*, const T*, int64_t, int64_t, int64_t, int64_t, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
