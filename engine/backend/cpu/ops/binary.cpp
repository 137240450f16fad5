// Elementwise functions of two arguments. Equal shapes in one layout run straight over the buffers (a residual sum with its ReLU is one
// pass); broadcasting runs row-major with strides, and its gradient sums over the broadcast axes.
#include <cmath>

#include "engine/backend/cpu/loops.h"

namespace actmatch::cpu {

namespace {

float evaluate(BinaryKind kind, float a, float b) {
  switch (kind) {
    case BinaryKind::kAdd: return a + b;
    case BinaryKind::kSub: return a - b;
    case BinaryKind::kMul: return a * b;
    case BinaryKind::kDiv: return a / b;
    case BinaryKind::kPow: return std::pow(a, b);
    case BinaryKind::kMin: return std::min(a, b);
    case BinaryKind::kMax: return std::max(a, b);
    default: return 0.0f;
  }
}

bool compare(BinaryKind kind, float a, float b) {
  switch (kind) {
    case BinaryKind::kEqual: return a == b;
    case BinaryKind::kLess: return a < b;
    case BinaryKind::kLessOrEqual: return a <= b;
    case BinaryKind::kGreater: return a > b;
    default: return a >= b;
  }
}

// Derivatives with respect to a and b. At a tie of min or max both get half, as PyTorch has it.
float derivative_a(BinaryKind kind, float a, float b) {
  switch (kind) {
    case BinaryKind::kMul: return b;
    case BinaryKind::kDiv: return 1.0f / b;
    case BinaryKind::kPow: return b == 0.0f ? 0.0f : b == 2.0f ? 2.0f * a : b * std::pow(a, b - 1.0f);
    case BinaryKind::kMin: return a < b ? 1.0f : (a == b ? 0.5f : 0.0f);
    case BinaryKind::kMax: return a > b ? 1.0f : (a == b ? 0.5f : 0.0f);
    default: return 1.0f;
  }
}
float derivative_b(BinaryKind kind, float a, float b) {
  switch (kind) {
    case BinaryKind::kSub: return -1.0f;
    case BinaryKind::kMul: return a;
    case BinaryKind::kDiv: return -a / (b * b);
    case BinaryKind::kPow: return a == 0.0f && b >= 0.0f ? 0.0f : std::pow(a, b) * std::log(a);
    case BinaryKind::kMin: return b < a ? 1.0f : (a == b ? 0.5f : 0.0f);
    case BinaryKind::kMax: return b > a ? 1.0f : (a == b ? 0.5f : 0.0f);
    default: return 1.0f;
  }
}
bool is_sum(BinaryKind kind) { return kind == BinaryKind::kAdd || kind == BinaryKind::kSub; }
bool keeps_zero(BinaryKind kind) {
  return is_sum(kind) || kind == BinaryKind::kMul || kind == BinaryKind::kMin || kind == BinaryKind::kMax;
}

// Both operands in the same layout.
class SameLayoutStep : public Step {
 public:
  SameLayoutStep(Lowering& l, BinaryKind kind, Slot* a, Slot* b)
      : kind_(kind), activation_(l.activation()), a_(a), b_(b), y_(l.output(a->desc)) {
    reads = {a, b};
    writes = {y_};
    if (l.wants(0)) {
      da_.slot = a;
      grads.push_back(&da_);
    }
    if (l.wants(1)) {
      db_.slot = b;
      grads.push_back(&db_);
    }
    if (!is_sum(kind)) backward_reads = {a, b};
    if (activation_.present) backward_reads.push_back(y_);
  }
  void forward() override {
    const float *a = a_->f32(), *b = b_->f32();
    float* y = y_->f32();
    const auto n = static_cast<int64_t>(y_->floats());
    if (kind_ == BinaryKind::kAdd)
      add(y, a, b, n);
    else if (kind_ == BinaryKind::kMul)
      put_product(y, a, b, n, false);
    else
      parallel_ranges(n, kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y[i] = evaluate(kind_, a[i], b[i]);
      });
    if (activation_.present) activation_forward(y, activation_, n);
  }
  void backward() override {
    const auto n = static_cast<int64_t>(y_->floats());
    if (activation_.present) activation_backward(y_->grad, y_->f32(), activation_, n);
    if (da_) one_side(da_, true, n);
    if (db_) one_side(db_, false, n);
  }

 private:
  void one_side(const GradTarget& target, bool left, int64_t n) {
    const float* dy = y_->grad;
    float* dx = target.slot->grad;
    if (is_sum(kind_)) {
      if (kind_ == BinaryKind::kSub && !left)
        put_scaled(dx, dy, -1.0f, n, target.accumulate);
      else
        put(dx, dy, n, target.accumulate);
      return;
    }
    if (kind_ == BinaryKind::kMul) {
      put_product(dx, dy, left ? b_->f32() : a_->f32(), n, target.accumulate);
      return;
    }
    const float *a = a_->f32(), *b = b_->f32();
    for (int64_t i = 0; i < n; ++i) {
      const float d = dy[i] * (left ? derivative_a(kind_, a[i], b[i]) : derivative_b(kind_, a[i], b[i]));
      dx[i] = (target.accumulate ? dx[i] : 0.0f) + d;
    }
  }
  BinaryKind kind_;
  Activation activation_;
  Slot *a_, *b_, *y_;
  GradTarget da_, db_;
};

class BroadcastStep : public Step {
 public:
  BroadcastStep(Lowering& l, BinaryKind kind)
      : kind_(kind), activation_(l.activation()), a_(l.input_plain(0)), b_(l.input_plain(1)), y_(l.output_plain()) {
    const Shape& y = y_->shape;
    const auto strides_in = [&](const Shape& x) {  // of x along the axes of y; 0 where broadcast
      std::vector<int64_t> strides(y.size(), 0);
      const auto own = row_major_strides(x);
      for (size_t i = 0; i < x.size(); ++i)
        if (x[i] != 1) strides[y.size() - x.size() + i] = own[i];
      return strides;
    };
    a_strides_ = strides_in(a_->shape);
    b_strides_ = strides_in(b_->shape);
    reads = {a_, b_};
    writes = {y_};
    if (l.wants(0)) {
      da_.slot = a_;
      grads.push_back(&da_);
    }
    if (l.wants(1)) {
      db_.slot = b_;
      grads.push_back(&db_);
    }
    if (!is_sum(kind)) backward_reads = {a_, b_};
    if (activation_.present) backward_reads.push_back(y_);
  }
  void forward() override {
    if (y_->dtype == DType::kBool) {
      compare_all();
      return;
    }
    const float *a = a_->f32(), *b = b_->f32();
    float* y = y_->f32();
    walk([&](int64_t i, int64_t ia, int64_t ib) { y[i] = evaluate(kind_, a[ia], b[ib]); });
    if (activation_.present) activation_forward(y, activation_, static_cast<int64_t>(y_->floats()));
  }
  void backward() override {
    if (activation_.present) activation_backward(y_->grad, y_->f32(), activation_, static_cast<int64_t>(y_->floats()));
    const float *a = a_->f32(), *b = b_->f32(), *dy = y_->grad;
    if (da_) {
      float* da = a_->grad;
      if (!da_.accumulate) std::fill_n(da, a_->floats(), 0.0f);
      walk([&](int64_t i, int64_t ia, int64_t ib) { da[ia] += is_sum(kind_) ? dy[i] : dy[i] * derivative_a(kind_, a[ia], b[ib]); });
    }
    if (db_) {
      float* db = b_->grad;
      if (!db_.accumulate) std::fill_n(db, b_->floats(), 0.0f);
      const float sign = kind_ == BinaryKind::kSub ? -1.0f : 1.0f;
      walk([&](int64_t i, int64_t ia, int64_t ib) { db[ib] += is_sum(kind_) ? sign * dy[i] : dy[i] * derivative_b(kind_, a[ia], b[ib]); });
    }
  }

 private:
  void compare_all() {
    auto* y = reinterpret_cast<uint8_t*>(y_->data);
    if (a_->dtype == DType::kBool) {
      const auto *a = reinterpret_cast<const uint8_t*>(a_->data), *b = reinterpret_cast<const uint8_t*>(b_->data);
      walk([&](int64_t i, int64_t ia, int64_t ib) {
        const bool p = a[ia] != 0, q = b[ib] != 0;
        y[i] = kind_ == BinaryKind::kAnd ? p && q : kind_ == BinaryKind::kOr ? p || q : p == q;
      });
      return;
    }
    const float *a = a_->f32(), *b = b_->f32();
    walk([&](int64_t i, int64_t ia, int64_t ib) { y[i] = compare(kind_, a[ia], b[ib]); });
  }
  template <class Body>
  void walk(const Body& body) const {
    const Shape& shape = y_->shape;
    if (shape.empty()) {
      body(int64_t{0}, int64_t{0}, int64_t{0});
      return;
    }
    const int64_t total = element_count(shape);
    const size_t last = shape.size() - 1;
    std::vector<int64_t> index(shape.size(), 0);
    const int64_t sa = a_strides_[last], sb = b_strides_[last], run = shape[last];
    int64_t ia = 0, ib = 0;
    for (int64_t i = 0; i < total;) {
      for (int64_t k = 0; k < run; ++k) body(i++, ia + k * sa, ib + k * sb);
      for (size_t axis = last; axis-- > 0;) {
        ia += a_strides_[axis];
        ib += b_strides_[axis];
        if (++index[axis] < shape[axis]) break;
        ia -= a_strides_[axis] * shape[axis];
        ib -= b_strides_[axis] * shape[axis];
        index[axis] = 0;
      }
    }
  }
  BinaryKind kind_;
  Activation activation_;
  Slot *a_, *b_, *y_;
  std::vector<int64_t> a_strides_, b_strides_;
  GradTarget da_, db_;
};

}  // namespace

void build_binary(Lowering& l) {
  if (l.graph().value(l.node().inputs[0]).dtype == DType::kI64) return build_on_host(l);
  const BinaryKind kind = std::get<BinaryAttrs>(l.node().attrs).kind;
  const bool float_result = l.graph().value(l.node().output).dtype == DType::kF32;
  if (float_result && l.input_shape(0) == l.input_shape(1)) {
    Slot* a = l.input(0);
    // Follow the operand that is not a constant: constants are reordered once, values every step.
    const bool follow_second = l.input_is_constant(0);
    Slot* lead = follow_second ? l.input(1) : a;
    if (unpadded(*lead) || keeps_zero(kind)) {
      const MemoryDesc desc = lead->desc;
      Slot* first = l.input_as(0, desc);
      Slot* second = l.input_as(1, desc);
      l.add_step(std::make_unique<SameLayoutStep>(l, kind, first, second));
      return;
    }
  }
  l.add_step(std::make_unique<BroadcastStep>(l, kind));
}

}  // namespace actmatch::cpu
