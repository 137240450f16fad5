// Reductions over axes, and softmax along one.
#pragma once

#include <algorithm>
#include <cmath>

#include "engine/graph/op.h"
#include "tests/oracle/array.h"

namespace actmatch::oracle {

// Where an index of x ends up in the result when the reduced axes are kept with extent 1.
inline Index reduced_index(const ReduceAttrs& a, Index index) {
  for (int64_t axis : a.axes) index[static_cast<size_t>(axis)] = 0;
  return index;
}
inline Shape reduced_shape(const ReduceAttrs& a, Shape shape) {
  for (int64_t axis : a.axes) shape[static_cast<size_t>(axis)] = 1;
  return shape;
}

template <class T>
Array<T> forward_of(const ReduceAttrs& a, const Operands<T>& in) {
  const Array<T>& x = *in[0];
  Array<T> y(reduced_shape(a, x.shape)), seen = y;
  each_index(x.shape, [&](const Index& i) {
    const Index o = reduced_index(a, i);
    const bool first = seen.at(o) == 0;
    seen.at(o) += 1;
    T& out = y.at(o);
    switch (a.kind) {
      case ReduceKind::kMax: out = first ? x.at(i) : std::max(out, x.at(i)); break;
      case ReduceKind::kMin: out = first ? x.at(i) : std::min(out, x.at(i)); break;
      default: out += x.at(i);
    }
  });
  if (a.kind == ReduceKind::kMean)
    for (int64_t i = 0; i < y.count(); ++i) y[i] /= seen[i];
  if (!a.keep_dims)
    for (size_t k = a.axes.size(); k-- > 0;) y.shape.erase(y.shape.begin() + a.axes[k]);
  return y;
}

template <class T>
Gradients<T> backward_of(const ReduceAttrs& a, const Operands<T>& in, const Array<T>& y, const Array<T>& dy) {
  const Array<T>& x = *in[0];
  Array<T> value = y, gradient = dy;
  value.shape = gradient.shape = reduced_shape(a, x.shape);
  // How many elements share the gradient: all for the mean, those at the extreme for max and min.
  Array<T> sharers = like(value);
  const bool extreme = a.kind == ReduceKind::kMax || a.kind == ReduceKind::kMin;
  const auto takes_part = [&](const Index& i) { return !extreme || x.at(i) == value.at(reduced_index(a, i)); };
  each_index(x.shape, [&](const Index& i) {
    if (takes_part(i)) sharers.at(reduced_index(a, i)) += 1;
  });
  Gradients<T> d{like(x)};
  each_index(x.shape, [&](const Index& i) {
    const Index o = reduced_index(a, i);
    if (takes_part(i)) d[0].at(i) = a.kind == ReduceKind::kSum ? gradient.at(o) : gradient.at(o) / sharers.at(o);
  });
  return d;
}

// f(offsets of one line along the axis)
template <class T, class F>
void each_line(const Array<T>& x, int64_t axis, const F& f) {
  Shape starts = x.shape;
  starts[static_cast<size_t>(axis)] = std::min<int64_t>(1, x.shape[static_cast<size_t>(axis)]);
  each_index(starts, [&](const Index& start) {
    std::vector<int64_t> line;
    Index i = start;
    for (i[static_cast<size_t>(axis)] = 0; i[static_cast<size_t>(axis)] < x.shape[static_cast<size_t>(axis)];
         ++i[static_cast<size_t>(axis)])
      line.push_back(x.offset(i));
    f(line);
  });
}

template <class T>
Array<T> forward_of(const SoftmaxAttrs& a, const Operands<T>& in) {
  const Array<T>& x = *in[0];
  Array<T> y = like(x);
  each_line(x, a.axis, [&](const std::vector<int64_t>& line) {
    T top = x[line[0]], sum = 0;
    for (int64_t i : line) top = std::max(top, x[i]);
    for (int64_t i : line) sum += std::exp(x[i] - top);
    for (int64_t i : line) y[i] = a.log ? x[i] - top - std::log(sum) : std::exp(x[i] - top) / sum;
  });
  return y;
}
// dx_i = sum over j of dy_j dy_j/dx_i, with p the softmax: dy_j/dx_i = p_j (1[i=j] - p_i), or 1[i=j] - p_i for the logarithm.
template <class T>
Gradients<T> backward_of(const SoftmaxAttrs& a, const Operands<T>& in, const Array<T>& y, const Array<T>& dy) {
  Gradients<T> d{like(*in[0])};
  each_line(y, a.axis, [&](const std::vector<int64_t>& line) {
    for (int64_t i : line)
      for (int64_t j : line) {
        const T p_i = a.log ? std::exp(y[i]) : y[i], same = i == j ? T(1) : T(0);
        d[0][i] += dy[j] * (a.log ? same - p_i : y[j] * (same - p_i));
      }
  });
  return d;
}

template <class T>
Array<T> forward_of(const TopKAttrs& a, const Operands<T>& in) {
  const Array<T>& x = *in[0];
  const auto axis = static_cast<size_t>(a.axis);
  Shape shape = x.shape, lines = x.shape;
  shape[axis] = a.k;
  lines[axis] = 1;
  Array<T> y(shape);
  each_index(lines, [&](const Index& line) {
    std::vector<bool> taken(static_cast<size_t>(x.shape[axis]));
    for (int64_t place = 0; place < a.k; ++place) {
      int64_t best = -1;
      Index at = line, best_at = line;
      for (int64_t i = 0; i < x.shape[axis]; ++i) {
        if (taken[static_cast<size_t>(i)]) continue;
        at[axis] = i;
        best_at[axis] = best;
        if (best < 0 || (a.largest ? x.at(at) > x.at(best_at) : x.at(at) < x.at(best_at)) || (a.last_first && x.at(at) == x.at(best_at)))
          best = i;
      }
      taken[static_cast<size_t>(best)] = true;
      Index to = line;
      to[axis] = place;
      y.at(to) = static_cast<T>(best);
    }
  });
  return y;
}
template <class T>
Gradients<T> backward_of(const TopKAttrs&, const Operands<T>&, const Array<T>&, const Array<T>&) {
  return Gradients<T>(1);
}

}  // namespace actmatch::oracle
