// Operators that only move elements. Each is described by where an element of the output comes from; the gradient goes back there.
#pragma once

#include <optional>

#include "engine/graph/op.h"
#include "tests/oracle/array.h"

namespace actmatch::oracle {

// Where the element of y at `index` comes from in input 0; nothing: the fill value.
template <class T>
std::optional<int64_t> source_of(const ReshapeAttrs& a, const Operands<T>&, const Index& index) {
  int64_t at = 0;
  for (size_t i = 0; i < index.size(); ++i) at = at * a.shape[i] + index[i];
  return at;
}
template <class T>
std::optional<int64_t> source_of(const TransposeAttrs& a, const Operands<T>& in, const Index& index) {
  Index from(index.size());
  for (size_t i = 0; i < index.size(); ++i) from[static_cast<size_t>(a.perm[i])] = index[i];
  return in[0]->offset(from);
}
template <class T>
std::optional<int64_t> source_of(const SliceAttrs& a, const Operands<T>& in, const Index& index) {
  Index from(index.size());
  for (size_t i = 0; i < index.size(); ++i) from[i] = a.starts[i] + index[i] * a.steps[i];
  return in[0]->offset(from);
}
template <class T>
std::optional<int64_t> source_of(const PadAttrs& a, const Operands<T>& in, const Index& index) {
  Index from(index.size());
  for (size_t i = 0; i < index.size(); ++i) {
    const int64_t extent = in[0]->shape[i];
    int64_t at = index[i] - a.before[i];
    if (a.mode == PadMode::kConstant && (at < 0 || at >= extent)) return std::nullopt;
    if (a.mode == PadMode::kEdge) at = std::min(std::max<int64_t>(at, 0), extent - 1);
    if (a.mode == PadMode::kReflect && at < 0) at = -at;
    if (a.mode == PadMode::kReflect && at >= extent) at = extent - 1 - (at - (extent - 1));
    from[i] = at;
  }
  return in[0]->offset(from);
}
template <class T>
std::optional<int64_t> source_of(const GatherAttrs& a, const Operands<T>& in, const Index& index) {
  const auto axis = static_cast<size_t>(a.axis);
  const size_t picks = in[1]->rank();
  Index from(index.begin(), index.begin() + a.axis);
  const auto row = static_cast<int64_t>(in[1]->at(Index(index.begin() + a.axis, index.begin() + a.axis + static_cast<int64_t>(picks))));
  from.push_back(row < 0 ? row + in[0]->shape[axis] : row);
  from.insert(from.end(), index.begin() + a.axis + static_cast<int64_t>(picks), index.end());
  return in[0]->offset(from);
}
template <class T>
std::optional<int64_t> source_of(const ExpandAttrs&, const Operands<T>& in, const Index& index) {
  return in[0]->offset(broadcast_index(index, in[0]->shape));
}

template <class T>
Shape moved_shape(const ReshapeAttrs& a, const Operands<T>&) {
  return a.shape;
}
template <class T>
Shape moved_shape(const TransposeAttrs& a, const Operands<T>& in) {
  Shape y;
  for (int64_t axis : a.perm) y.push_back(in[0]->shape[static_cast<size_t>(axis)]);
  return y;
}
template <class T>
Shape moved_shape(const SliceAttrs& a, const Operands<T>&) {
  return a.sizes;
}
template <class T>
Shape moved_shape(const PadAttrs& a, const Operands<T>& in) {
  Shape y = in[0]->shape;
  for (size_t i = 0; i < y.size(); ++i) y[i] += a.before[i] + a.after[i];
  return y;
}
template <class T>
Shape moved_shape(const GatherAttrs& a, const Operands<T>& in) {
  Shape y = in[0]->shape;
  y.erase(y.begin() + a.axis);
  y.insert(y.begin() + a.axis, in[1]->shape.begin(), in[1]->shape.end());
  return y;
}
template <class T>
Shape moved_shape(const ExpandAttrs& a, const Operands<T>&) {
  return a.shape;
}

inline float fill_value(const PadAttrs& a) { return a.value; }
template <class Attrs>
float fill_value(const Attrs&) {
  return 0.0f;
}

template <class T, class Attrs>
Array<T> moved(const Attrs& a, const Operands<T>& in) {
  Array<T> y(moved_shape(a, in));
  each_index(y.shape, [&](const Index& i) {
    const auto from = source_of(a, in, i);
    y.at(i) = from ? (*in[0])[*from] : static_cast<T>(fill_value(a));
  });
  return y;
}
template <class T, class Attrs>
Gradients<T> moved_back(const Attrs& a, const Operands<T>& in, const Array<T>& dy) {
  Gradients<T> d(in.size());
  d[0] = like(*in[0]);
  each_index(dy.shape, [&](const Index& i) {
    if (const auto from = source_of(a, in, i)) d[0][*from] += dy.at(i);
  });
  return d;
}

#define ACTMATCH_ORACLE_MOVER(ATTRS)                                                                     \
  template <class T>                                                                                     \
  Array<T> forward_of(const ATTRS& a, const Operands<T>& in) {                                           \
    return moved(a, in);                                                                                 \
  }                                                                                                      \
  template <class T>                                                                                     \
  Gradients<T> backward_of(const ATTRS& a, const Operands<T>& in, const Array<T>&, const Array<T>& dy) { \
    return moved_back(a, in, dy);                                                                        \
  }
ACTMATCH_ORACLE_MOVER(ReshapeAttrs)
ACTMATCH_ORACLE_MOVER(TransposeAttrs)
ACTMATCH_ORACLE_MOVER(SliceAttrs)
ACTMATCH_ORACLE_MOVER(PadAttrs)
ACTMATCH_ORACLE_MOVER(GatherAttrs)
ACTMATCH_ORACLE_MOVER(ExpandAttrs)
#undef ACTMATCH_ORACLE_MOVER

template <class T>
Array<T> forward_of(const ConcatAttrs& a, const Operands<T>& in) {
  const auto axis = static_cast<size_t>(a.axis);
  Shape shape = in[0]->shape;
  shape[axis] = 0;
  for (const Array<T>* x : in) shape[axis] += x->shape[axis];
  Array<T> y(shape);
  int64_t start = 0;
  for (const Array<T>* x : in) {
    each_index(x->shape, [&](Index i) {
      const T value = x->at(i);
      i[axis] += start;
      y.at(i) = value;
    });
    start += x->shape[axis];
  }
  return y;
}
template <class T>
Gradients<T> backward_of(const ConcatAttrs& a, const Operands<T>& in, const Array<T>&, const Array<T>& dy) {
  const auto axis = static_cast<size_t>(a.axis);
  Gradients<T> d;
  int64_t start = 0;
  for (const Array<T>* x : in) {
    d.push_back(like(*x));
    each_index(x->shape, [&](const Index& i) {
      Index from = i;
      from[axis] += start;
      d.back().at(i) = dy.at(from);
    });
    start += x->shape[axis];
  }
  return d;
}

}  // namespace actmatch::oracle
