// Where (choice by a condition, with broadcasting) and casts. Row-major.
#include <cmath>

#include "engine/backend/cpu/loops.h"

namespace actmatch::cpu {

namespace {

class WhereStep : public Step {
 public:
  explicit WhereStep(Lowering& l) : y_(l.output_plain()) {
    const Shape& y = y_->shape;
    for (size_t i = 0; i < 3; ++i) {
      in_[i] = l.input_plain(i);
      reads.push_back(in_[i]);
      strides_[i].assign(y.size(), 0);
      const Shape& x = in_[i]->shape;
      const auto own = row_major_strides(x);
      for (size_t k = 0; k < x.size(); ++k)
        if (x[k] != 1) strides_[i][y.size() - x.size() + k] = own[k];
    }
    writes = {y_};
    for (size_t i = 1; i < 3; ++i)
      if (l.wants(i)) {
        d_[i].slot = in_[i];
        grads.push_back(&d_[i]);
        backward_reads = {in_[0]};
      }
  }
  void forward() override {
    switch (size_of(y_->dtype)) {
      case 4: choose<uint32_t>(); break;
      case 8: choose<uint64_t>(); break;
      default: choose<uint8_t>();
    }
  }
  void backward() override {
    const auto* condition = reinterpret_cast<const uint8_t*>(in_[0]->data);
    for (size_t side = 1; side < 3; ++side) {
      if (!d_[side]) continue;
      float* dx = in_[side]->grad;
      if (!d_[side].accumulate) std::fill_n(dx, in_[side]->floats(), 0.0f);
      walk([&](int64_t i, const std::array<int64_t, 3>& at) {
        if ((condition[at[0]] != 0) == (side == 1)) dx[at[side]] += y_->grad[i];
      });
    }
  }

 private:
  template <class T>
  void choose() {
    const auto* condition = reinterpret_cast<const uint8_t*>(in_[0]->data);
    const T *a = reinterpret_cast<const T*>(in_[1]->data), *b = reinterpret_cast<const T*>(in_[2]->data);
    T* y = reinterpret_cast<T*>(y_->data);
    walk([&](int64_t i, const std::array<int64_t, 3>& at) { y[i] = condition[at[0]] ? a[at[1]] : b[at[2]]; });
  }
  template <class Body>
  void walk(const Body& body) const {
    const Shape& shape = y_->shape;
    const int64_t total = element_count(shape);
    std::vector<int64_t> index(shape.size(), 0);
    std::array<int64_t, 3> at{};
    for (int64_t i = 0; i < total; ++i) {
      body(i, at);
      for (size_t axis = shape.size(); axis-- > 0;) {
        for (size_t k = 0; k < 3; ++k) at[k] += strides_[k][axis];
        if (++index[axis] < shape[axis]) break;
        for (size_t k = 0; k < 3; ++k) at[k] -= strides_[k][axis] * shape[axis];
        index[axis] = 0;
      }
    }
  }
  Slot* y_;
  std::array<Slot*, 3> in_{};
  std::array<std::vector<int64_t>, 3> strides_;
  std::array<GradTarget, 3> d_;
};

class CastStep : public Step {
 public:
  CastStep(Slot* x, Slot* y, bool wants) : x_(x), y_(y) {
    reads = {x};
    writes = {y};
    if (wants) {
      dx_.slot = x;
      grads = {&dx_};
    }
  }
  void forward() override {
    const auto n = element_count(y_->shape);
    for (int64_t i = 0; i < n; ++i) store(i, load(i));
  }
  void backward() override { put(x_->grad, y_->grad, static_cast<int64_t>(y_->floats()), dx_.accumulate); }  // float to float

 private:
  double load(int64_t i) const {
    switch (x_->dtype) {
      case DType::kF32: return x_->f32()[i];
      case DType::kI64: return static_cast<double>(reinterpret_cast<const int64_t*>(x_->data)[i]);
      default: return static_cast<double>(x_->data[i]);
    }
  }
  void store(int64_t i, double v) {
    switch (y_->dtype) {
      case DType::kF32: y_->f32()[i] = static_cast<float>(v); break;
      case DType::kI64: reinterpret_cast<int64_t*>(y_->data)[i] = static_cast<int64_t>(std::trunc(v)); break;
      default: y_->data[i] = static_cast<std::byte>(v != 0.0);
    }
  }
  Slot *x_, *y_;
  GradTarget dx_;
};

}  // namespace

void build_where(Lowering& l) { l.add_step(std::make_unique<WhereStep>(l)); }

void build_cast(Lowering& l) {
  Slot* x = l.input_plain(0);
  l.add_step(std::make_unique<CastStep>(x, l.output_plain(), l.wants(0)));
}

}  // namespace actmatch::cpu
