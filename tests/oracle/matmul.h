// Matrix products over broadcasting batch axes, with a bias along the last axis.
#pragma once

#include "engine/graph/op.h"
#include "tests/oracle/array.h"

namespace actmatch::oracle {

// f(a offset, b offset, y offset) for all products.
template <class T, class F>
void each_product(const MatMulAttrs& attrs, const Array<T>& a, const Array<T>& b, const Array<T>& y, const F& f) {
  const int64_t inner = a.shape[a.rank() - (attrs.transpose_a ? 2 : 1)];
  each_index(y.shape, [&](const Index& at) {
    const Index batch(at.begin(), at.end() - 2);
    const int64_t m = at[at.size() - 2], n = at.back();
    for (int64_t k = 0; k < inner; ++k) {
      Index ia = broadcast_index(batch, Shape(a.shape.begin(), a.shape.end() - 2));
      Index ib = broadcast_index(batch, Shape(b.shape.begin(), b.shape.end() - 2));
      ia.insert(ia.end(), {attrs.transpose_a ? k : m, attrs.transpose_a ? m : k});
      ib.insert(ib.end(), {attrs.transpose_b ? n : k, attrs.transpose_b ? k : n});
      f(a.offset(ia), b.offset(ib), y.offset(at));
    }
  });
}

template <class T>
Array<T> forward_of(const MatMulAttrs& attrs, const Operands<T>& in) {
  const Array<T>&a = *in[0], &b = *in[1];
  Shape shape = broadcast(Shape(a.shape.begin(), a.shape.end() - 2), Shape(b.shape.begin(), b.shape.end() - 2));
  shape.push_back(a.shape[a.rank() - (attrs.transpose_a ? 1 : 2)]);
  shape.push_back(b.shape[b.rank() - (attrs.transpose_b ? 2 : 1)]);
  Array<T> y(shape);
  each_product(attrs, a, b, y, [&](int64_t ia, int64_t ib, int64_t iy) { y[iy] += a[ia] * b[ib]; });
  if (in.size() > 2 && in[2]) each_index(y.shape, [&](const Index& at) { y.at(at) += (*in[2])[at.back()]; });
  return y;
}

template <class T>
Gradients<T> backward_of(const MatMulAttrs& attrs, const Operands<T>& in, const Array<T>&, const Array<T>& dy) {
  const Array<T>&a = *in[0], &b = *in[1];
  Gradients<T> d(in.size());
  d[0] = like(a);
  d[1] = like(b);
  each_product(attrs, a, b, dy, [&](int64_t ia, int64_t ib, int64_t iy) {
    d[0][ia] += dy[iy] * b[ib];
    d[1][ib] += dy[iy] * a[ia];
  });
  if (in.size() > 2 && in[2]) {
    d[2] = like(*in[2]);
    each_index(dy.shape, [&](const Index& at) { d[2][at.back()] += dy.at(at); });
  }
  return d;
}

}  // namespace actmatch::oracle
