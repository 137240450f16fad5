// What the reference operators compute with: a row-major array of T. Integers and booleans are held as T as well; every index and flag
// of the tests is small enough to be exact.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/core/tensor.h"

namespace actmatch::oracle {

using Index = std::vector<int64_t>;

template <class T>
struct Array {
  Shape shape;
  std::vector<T> data;

  Array() = default;  // holds nothing: an input without a gradient
  explicit Array(Shape s, T fill = T(0)) : shape(std::move(s)) {
    size_t count = 1;
    for (int64_t extent : shape) count *= static_cast<size_t>(extent);
    data.assign(count, fill);
    present = true;
  }
  bool present = false;
  int64_t count() const { return static_cast<int64_t>(data.size()); }
  size_t rank() const { return shape.size(); }
  T& operator[](int64_t i) { return data.at(static_cast<size_t>(i)); }
  const T& operator[](int64_t i) const { return data.at(static_cast<size_t>(i)); }
  int64_t offset(const Index& index) const { return offset_of(index.begin(), index.end()); }
  int64_t offset(std::initializer_list<int64_t> index) const { return offset_of(index.begin(), index.end()); }
  T& at(const Index& index) { return (*this)[offset(index)]; }
  const T& at(const Index& index) const { return (*this)[offset(index)]; }

 private:
  template <class Iterator>
  int64_t offset_of(Iterator index, Iterator end) const {
    int64_t at = 0;
    for (const int64_t extent : shape) {
      if (index == end || *index < 0 || *index >= extent) throw std::out_of_range("index outside " + to_string(shape));
      at = at * extent + *index++;
    }
    return at;
  }
};

// A null pointer stands for an input left out.
template <class T>
using Operands = std::vector<const Array<T>*>;
// One an input; an absent array where there is no gradient.
template <class T>
using Gradients = std::vector<Array<T>>;

// Calls f(index) for every index of the shape, in row-major order.
template <class F>
void each_index(const Shape& shape, const F& f) {
  for (int64_t extent : shape)
    if (extent == 0) return;
  Index index(shape.size(), 0);
  while (true) {
    f(static_cast<const Index&>(index));
    size_t axis = shape.size();
    while (axis > 0 && ++index[axis - 1] == shape[axis - 1]) index[--axis] = 0;
    if (axis == 0) return;
  }
}

// The index into an array of shape `from` that a broadcast to the rank of `index` reads.
inline Index broadcast_index(const Index& index, const Shape& from) {
  Index own(from.size());
  for (size_t i = 0; i < from.size(); ++i) own[i] = from[i] == 1 ? 0 : index[index.size() - from.size() + i];
  return own;
}

inline Shape broadcast(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (const Shape* s : {&a, &b})
    for (size_t i = 0; i < s->size(); ++i) {
      int64_t& extent = out[out.size() - s->size() + i];
      if (extent == 1)
        extent = (*s)[i];
      else if ((*s)[i] != 1 && (*s)[i] != extent)
        throw std::invalid_argument("shapes do not broadcast");
    }
  return out;
}

template <class T>
Array<T> like(const Array<T>& x) {
  return Array<T>(x.shape);
}

}  // namespace actmatch::oracle
