// Convolution and transposed convolution: every multiply-add is visited once, and forward, input gradient and weight gradient differ only
// in which of the three numbers is summed.
#pragma once

#include "engine/graph/op.h"
#include "tests/oracle/array.h"

namespace actmatch::oracle {

// Calls f(position in the small map, position in the large map) for one axis: large = small * stride - pad + tap * dilation, inside it.
template <class F>
void each_tap(int64_t small, int64_t large, int64_t taps, int64_t stride, int64_t pad, int64_t dilation, const F& f) {
  for (int64_t i = 0; i < small; ++i)
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t j = i * stride - pad + t * dilation;
      if (j >= 0 && j < large) f(i, j, t);
    }
}

// The batch in as many parts as there are instances of the weights: which one image n has.
template <class T>
int64_t instance_of(const Array<T>& w, int64_t n, int64_t batch) {
  return w.rank() == 5 ? n / (batch / w.shape[0]) : 0;
}
template <class T>
int64_t weight_offset(const Array<T>& w, int64_t instance, int64_t a, int64_t b, int64_t r, int64_t s) {
  return w.rank() == 5 ? w.offset({instance, a, b, r, s}) : w.offset({a, b, r, s});
}
template <class T>
Shape one_weight(const Array<T>& w) {
  return w.rank() == 5 ? Shape(w.shape.begin() + 1, w.shape.end()) : w.shape;
}
template <class T>
Index bias_index(const Array<T>& w, const Index& y, int64_t batch) {
  return w.rank() == 5 ? Index{instance_of(w, y[0], batch), y[1]} : Index{y[1]};
}

// f(x offset, w offset, y offset) for all products; y = sum of x * w.
template <class T, class F>
void each_product(const ConvAttrs& a, const Array<T>& x, const Array<T>& w, const Array<T>& y, const F& f) {
  const Shape one = one_weight(w);
  const int64_t channels = one[1], filters = one[0] / a.groups;
  for (int64_t n = 0; n < x.shape[0]; ++n)
    for (int64_t g = 0; g < a.groups; ++g)
      for (int64_t k = g * filters; k < (g + 1) * filters; ++k)
        for (int64_t c = 0; c < channels; ++c)
          each_tap(y.shape[2], x.shape[2], one[2], a.strides[0], a.pads[0], a.dilations[0], [&](int64_t p, int64_t h, int64_t r) {
            each_tap(y.shape[3], x.shape[3], one[3], a.strides[1], a.pads[1], a.dilations[1], [&](int64_t q, int64_t v, int64_t s) {
              f(x.offset({n, g * channels + c, h, v}), weight_offset(w, instance_of(w, n, x.shape[0]), k, c, r, s), y.offset({n, k, p, q}));
            });
          });
}

template <class T, class F>
void each_product(const ConvTransposeAttrs& a, const Array<T>& x, const Array<T>& w, const Array<T>& y, const F& f) {
  const Shape one = one_weight(w);
  const int64_t filters = one[1], channels = one[0] / a.groups;
  for (int64_t n = 0; n < x.shape[0]; ++n)
    for (int64_t g = 0; g < a.groups; ++g)
      for (int64_t c = g * channels; c < (g + 1) * channels; ++c)
        for (int64_t k = 0; k < filters; ++k)
          each_tap(x.shape[2], y.shape[2], one[2], a.strides[0], a.pads[0], a.dilations[0], [&](int64_t h, int64_t p, int64_t r) {
            each_tap(x.shape[3], y.shape[3], one[3], a.strides[1], a.pads[1], a.dilations[1], [&](int64_t v, int64_t q, int64_t s) {
              f(x.offset({n, c, h, v}), weight_offset(w, instance_of(w, n, x.shape[0]), c, k, r, s), y.offset({n, g * filters + k, p, q}));
            });
          });
}

template <class T>
Shape result_shape(const ConvAttrs& a, const Array<T>& x, const Array<T>& w) {
  const Shape one = one_weight(w);
  Shape y{x.shape[0], one[0], 0, 0};
  for (size_t i = 0; i < 2; ++i)  // counted: how often the window fits
    for (int64_t at = 0; at + (one[2 + i] - 1) * a.dilations[i] < x.shape[2 + i] + a.pads[i] + a.pads[2 + i]; at += a.strides[i])
      ++y[2 + i];
  return y;
}
template <class T>
Shape result_shape(const ConvTransposeAttrs& a, const Array<T>& x, const Array<T>& w) {
  const Shape one = one_weight(w);
  Shape y{x.shape[0], one[1] * a.groups, 0, 0};
  for (size_t i = 0; i < 2; ++i) {
    const int64_t last = (x.shape[2 + i] - 1) * a.strides[i] + (one[2 + i] - 1) * a.dilations[i];
    y[2 + i] = last + 1 + a.output_padding[i] - a.pads[i] - a.pads[2 + i];
  }
  return y;
}

template <class T, class Attrs>
Array<T> conv_like(const Attrs& a, const Operands<T>& in) {
  const Array<T>&x = *in[0], &w = *in[1];
  Array<T> y(result_shape(a, x, w));
  each_product(a, x, w, y, [&](int64_t ix, int64_t iw, int64_t iy) { y[iy] += x[ix] * w[iw]; });
  if (in.size() > 2 && in[2]) each_index(y.shape, [&](const Index& i) { y.at(i) += in[2]->at(bias_index(w, i, x.shape[0])); });
  return y;
}
template <class T, class Attrs>
Gradients<T> conv_like_gradients(const Attrs& a, const Operands<T>& in, const Array<T>& dy) {
  const Array<T>&x = *in[0], &w = *in[1];
  Gradients<T> d(in.size());
  d[0] = like(x);
  d[1] = like(w);
  each_product(a, x, w, dy, [&](int64_t ix, int64_t iw, int64_t iy) {
    d[0][ix] += dy[iy] * w[iw];
    d[1][iw] += dy[iy] * x[ix];
  });
  if (in.size() > 2 && in[2]) {
    d[2] = like(*in[2]);
    each_index(dy.shape, [&](const Index& i) { d[2].at(bias_index(w, i, x.shape[0])) += dy.at(i); });
  }
  return d;
}

template <class T>
Array<T> forward_of(const ConvAttrs& a, const Operands<T>& in) {
  return conv_like(a, in);
}
template <class T>
Gradients<T> backward_of(const ConvAttrs& a, const Operands<T>& in, const Array<T>&, const Array<T>& dy) {
  return conv_like_gradients(a, in, dy);
}
template <class T>
Array<T> forward_of(const ConvTransposeAttrs& a, const Operands<T>& in) {
  return conv_like(a, in);
}
template <class T>
Gradients<T> backward_of(const ConvTransposeAttrs& a, const Operands<T>& in, const Array<T>&, const Array<T>& dy) {
  return conv_like_gradients(a, in, dy);
}

}  // namespace actmatch::oracle
