// Pooling and resizing of the spatial axes.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/graph/op.h"
#include "tests/oracle/array.h"

namespace actmatch::oracle {

// One axis of a window: the input positions it covers, and how many taps lie on the input or its padding.
struct Window {
  std::vector<int64_t> positions;
  int64_t with_padding = 0;
};
inline Window window_at(const PoolAttrs& a, size_t axis, int64_t output, int64_t extent) {
  Window w;
  for (int64_t t = 0; t < a.kernel[axis]; ++t) {
    const int64_t at = output * a.strides[axis] - a.pads[axis] + t * a.dilations[axis];
    if (at >= 0 && at < extent) w.positions.push_back(at);
    if (at < extent + a.pads[2 + axis]) ++w.with_padding;
  }
  return w;
}

// The share of dy that goes to each input position, as f(x offset, weight), for the output at `index`. The maximum takes all; of equal
// values, the first in row-major order.
template <class T, class F>
void each_share(const PoolAttrs& a, const Array<T>& x, const Index& index, const F& f) {
  const Window rows = window_at(a, 0, index[2], x.shape[2]), columns = window_at(a, 1, index[3], x.shape[3]);
  if (a.mode == PoolMode::kMax) {
    int64_t best = -1;
    for (int64_t h : rows.positions)
      for (int64_t v : columns.positions) {
        const int64_t at = x.offset({index[0], index[1], h, v});
        if (best < 0 || x[at] > x[best]) best = at;
      }
    f(best, T(1));
    return;
  }
  const auto inside = static_cast<int64_t>(rows.positions.size() * columns.positions.size());
  const int64_t divisor = a.mode == PoolMode::kAverageIncludePad ? rows.with_padding * columns.with_padding : inside;
  for (int64_t h : rows.positions)
    for (int64_t v : columns.positions) f(x.offset({index[0], index[1], h, v}), T(1) / static_cast<T>(divisor));
}

template <class T>
Shape result_shape(const PoolAttrs& a, const Array<T>& x) {
  Shape y = x.shape;
  for (size_t i = 0; i < 2; ++i) {
    const int64_t span = (a.kernel[i] - 1) * a.dilations[i] + 1, begin = -a.pads[i], end = x.shape[2 + i] + a.pads[2 + i];
    y[2 + i] = 0;
    for (int64_t at = begin; a.ceil_mode ? at < end && at < x.shape[2 + i] : at + span <= end; at += a.strides[i]) {
      ++y[2 + i];
      if (at + span >= end) break;  // this window reached the end
    }
  }
  return y;
}

template <class T>
Array<T> forward_of(const PoolAttrs& a, const Operands<T>& in) {
  const Array<T>& x = *in[0];
  Array<T> y(result_shape(a, x));
  each_index(y.shape, [&](const Index& i) { each_share(a, x, i, [&](int64_t at, T weight) { y.at(i) += weight * x[at]; }); });
  return y;
}
template <class T>
Gradients<T> backward_of(const PoolAttrs& a, const Operands<T>& in, const Array<T>&, const Array<T>& dy) {
  Gradients<T> d{like(*in[0])};
  each_index(dy.shape, [&](const Index& i) { each_share(a, *in[0], i, [&](int64_t at, T weight) { d[0][at] += weight * dy.at(i); }); });
  return d;
}

// The source positions and weights of output position i on an axis.
template <class T>
std::vector<std::pair<int64_t, T>> resize_sources(ResizeMode mode, int64_t i, int64_t in, int64_t out) {
  if (mode == ResizeMode::kNearest) return {{i * in / out, T(1)}};
  const T at = std::clamp((static_cast<T>(i) + T(0.5)) * static_cast<T>(in) / static_cast<T>(out) - T(0.5), T(0), static_cast<T>(in - 1));
  const auto low = static_cast<int64_t>(std::floor(at));
  const T fraction = at - static_cast<T>(low);
  return {{low, T(1) - fraction}, {std::min(low + 1, in - 1), fraction}};
}
template <class T, class F>
void each_share(const ResizeAttrs& a, const Array<T>& x, const Index& index, const F& f) {
  for (const auto& [h, row_weight] : resize_sources<T>(a.mode, index[2], x.shape[2], a.height))
    for (const auto& [v, weight] : resize_sources<T>(a.mode, index[3], x.shape[3], a.width))
      f(x.offset({index[0], index[1], h, v}), row_weight * weight);
}

template <class T>
Array<T> forward_of(const ResizeAttrs& a, const Operands<T>& in) {
  const Array<T>& x = *in[0];
  Array<T> y({x.shape[0], x.shape[1], a.height, a.width});
  each_index(y.shape, [&](const Index& i) { each_share(a, x, i, [&](int64_t at, T weight) { y.at(i) += weight * x[at]; }); });
  return y;
}
template <class T>
Gradients<T> backward_of(const ResizeAttrs& a, const Operands<T>& in, const Array<T>&, const Array<T>& dy) {
  Gradients<T> d{like(*in[0])};
  each_index(dy.shape, [&](const Index& i) { each_share(a, *in[0], i, [&](int64_t at, T weight) { d[0][at] += weight * dy.at(i); }); });
  return d;
}

}  // namespace actmatch::oracle
