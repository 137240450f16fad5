// Walking the elements of a row-major tensor beside others that are reached by strides along its axes (0 where they are broadcast or
// summed). Neighbouring axes along which all go on alike count as one; the last one is the run that a loop is left to do.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine/core/tensor.h"

namespace actmatch::cpu {

// Strides of x along the axes of y, to which it is broadcast.
inline std::vector<int64_t> broadcast_strides(const Shape& x, const Shape& y) {
  std::vector<int64_t> strides(y.size(), 0);
  const auto own = row_major_strides(x);
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i] != 1) strides[y.size() - x.size() + i] = own[i];
  return strides;
}

template <size_t count>
class Runs {
 public:
  using Places = std::array<int64_t, count>;  // where in each of the others

  Runs() = default;
  Runs(const Shape& shape, const std::array<std::vector<int64_t>, count>& strides) {
    for (size_t i = 0; i < shape.size(); ++i) {
      if (shape[i] == 1) continue;
      bool joins = !axes_.empty();
      for (size_t k = 0; k < count && joins; ++k) joins = axes_.back().strides[k] == strides[k][i] * shape[i];
      if (!joins) axes_.push_back({1, {}});
      axes_.back().extent *= shape[i];
      for (size_t k = 0; k < count; ++k) axes_.back().strides[k] = strides[k][i];
    }
    if (!axes_.empty()) {
      run_ = axes_.back().extent;
      steps_ = axes_.back().strides;
      axes_.pop_back();
    }
    for (const Axis& axis : axes_) rows_ *= axis.extent;
    if (run_ == 0) rows_ = 0;
  }

  int64_t rows() const { return rows_; }
  int64_t run() const { return run_; }
  int64_t step(size_t k) const { return steps_[k]; }  // of operand k along the run; 0 in a tensor of one element

  struct Axis {
    int64_t extent;
    Places strides;
  };
  const std::vector<Axis>& outer() const { return axes_; }

  // body(first element of the row, places) for rows begin to end
  template <class Body>
  void each(int64_t begin, int64_t end, const Body& body) const {
    if (begin >= end) return;
    std::vector<int64_t> index(axes_.size(), 0);
    Places at{};
    int64_t rest = begin;
    for (size_t axis = axes_.size(); axis-- > 0;) {
      index[axis] = rest % axes_[axis].extent;
      rest /= axes_[axis].extent;
      for (size_t k = 0; k < count; ++k) at[k] += index[axis] * axes_[axis].strides[k];
    }
    for (int64_t row = begin; row < end; ++row) {
      body(row * run_, at);
      for (size_t axis = axes_.size(); axis-- > 0;) {
        for (size_t k = 0; k < count; ++k) at[k] += axes_[axis].strides[k];
        if (++index[axis] < axes_[axis].extent) break;
        for (size_t k = 0; k < count; ++k) at[k] -= axes_[axis].strides[k] * axes_[axis].extent;
        index[axis] = 0;
      }
    }
  }

 private:
  std::vector<Axis> axes_;
  int64_t rows_ = 1, run_ = 1;
  Places steps_{};
};

}  // namespace actmatch::cpu
