// Elementwise functions of two arguments. Equal shapes in one layout run straight over the buffers (a residual sum with its ReLU is one
// pass), and so does a number beside a tensor; a number a channel: binary_channels.cpp. Other broadcasting runs row-major with strides, and
// its gradient sums over the broadcast axes.
#include <cmath>
#include <type_traits>

#include "engine/backend/cpu/loops.h"
#include "engine/backend/cpu/runs.h"

namespace actmatch::cpu {

namespace {

ACTMATCH_INLINE float evaluate(BinaryKind kind, float a, float b) {
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
ACTMATCH_INLINE float derivative_a(BinaryKind kind, float a, float b) {
  switch (kind) {
    case BinaryKind::kMul: return b;
    case BinaryKind::kDiv: return 1.0f / b;
    case BinaryKind::kPow: return b == 0.0f ? 0.0f : b == 2.0f ? 2.0f * a : b * std::pow(a, b - 1.0f);
    case BinaryKind::kMin: return a < b ? 1.0f : (a == b ? 0.5f : 0.0f);
    case BinaryKind::kMax: return a > b ? 1.0f : (a == b ? 0.5f : 0.0f);
    default: return 1.0f;
  }
}
ACTMATCH_INLINE float derivative_b(BinaryKind kind, float a, float b) {
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

// y[i] = f(a[i sa], b[i sb]) for strides of 0 and 1 that are not both 0.
template <BinaryKind kind>
ACTMATCH_MULTIVERSION void apply(float* y, const float* a, const float* b, int64_t n, bool a_moves, bool b_moves) {
  if (a_moves && b_moves)
    for (int64_t i = 0; i < n; ++i) y[i] = evaluate(kind, a[i], b[i]);
  else if (a_moves)
    for (int64_t i = 0; i < n; ++i) y[i] = evaluate(kind, a[i], *b);
  else
    for (int64_t i = 0; i < n; ++i) y[i] = evaluate(kind, *a, b[i]);
}

// One run of a gradient: dx[i] += dy[i] d(i) where it moves with y, otherwise the sum of them to *dx.
template <BinaryKind kind, bool left>
ACTMATCH_MULTIVERSION void apply_backward(float* dx, const float* dy, const float* a, const float* b, int64_t n, bool a_moves,
                                          bool b_moves) {
  const auto d = [=](int64_t i) __attribute__((always_inline)) {
    const float x = a[a_moves ? i : 0], z = b[b_moves ? i : 0];
    return dy[i] * (left ? derivative_a(kind, x, z) : derivative_b(kind, x, z));
  };
  if (left ? a_moves : b_moves) {
    if (a_moves && b_moves)
      for (int64_t i = 0; i < n; ++i) dx[i] += dy[i] * (left ? derivative_a(kind, a[i], b[i]) : derivative_b(kind, a[i], b[i]));
    else
      for (int64_t i = 0; i < n; ++i) dx[i] += d(i);
    return;
  }
  constexpr int64_t kLanes = 16;  // a fixed order of summation
  float sums[kLanes] = {};
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t k = 0; k < kLanes; ++k) sums[k] += d(i + k);
  float sum = 0.0f;
  for (const float s : sums) sum += s;
  for (int64_t i = whole; i < n; ++i) sum += d(i);
  *dx += sum;
}

template <class F>
void dispatch(BinaryKind kind, const F& f) {
  switch (kind) {
#define ACTMATCH_CASE(KIND) \
  case BinaryKind::KIND: f(std::integral_constant<BinaryKind, BinaryKind::KIND>{}); return;
    ACTMATCH_CASE(kAdd)
    ACTMATCH_CASE(kSub)
    ACTMATCH_CASE(kMul)
    ACTMATCH_CASE(kDiv)
    ACTMATCH_CASE(kPow)
    ACTMATCH_CASE(kMin)
    ACTMATCH_CASE(kMax)
#undef ACTMATCH_CASE
    default: return;  // those that give bool
  }
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
      dispatch(kind_, [&](auto kind) {
        parallel_ranges(n, kGrain, [=](int64_t s, int64_t e) { apply<decltype(kind)::value>(y + s, a + s, b + s, e - s, true, true); });
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
    if (!target.accumulate) std::fill_n(dx, n, 0.0f);
    dispatch(kind_, [&](auto kind) {
      parallel_ranges(n, kGrain, [=](int64_t s, int64_t e) {
        if (left)
          apply_backward<decltype(kind)::value, true>(dx + s, dy + s, a + s, b + s, e - s, true, true);
        else
          apply_backward<decltype(kind)::value, false>(dx + s, dy + s, a + s, b + s, e - s, true, true);
      });
    });
  }
  BinaryKind kind_;
  Activation activation_;
  Slot *a_, *b_, *y_;
  GradTarget da_, db_;
};

// A number beside a tensor in any layout.
class NumberStep : public Step {
 public:
  NumberStep(Lowering& l, BinaryKind kind, size_t x)
      : kind_(kind), left_(x == 0), activation_(l.activation()), x_(l.input(x)), number_(l.input_plain(1 - x)), y_(l.output(x_->desc)) {
    reads = {x_, number_};
    writes = {y_};
    if (l.wants(x)) {
      dx_.slot = x_;
      grads = {&dx_};
      backward_reads = {x_, number_};
      if (activation_.present) backward_reads.push_back(y_);
    }
  }
  void forward() override {
    const float *x = x_->f32(), *number = number_->f32();
    float* y = y_->f32();
    dispatch(kind_, [&](auto kind) {
      parallel_ranges(static_cast<int64_t>(y_->floats()), kGrain, [=, left = left_](int64_t b, int64_t e) {
        apply<decltype(kind)::value>(y + b, left ? x + b : number, left ? number : x + b, e - b, left, !left);
      });
    });
    if (activation_.present) activation_forward(y, activation_, static_cast<int64_t>(y_->floats()));
  }
  void backward() override {
    const auto n = static_cast<int64_t>(y_->floats());
    if (activation_.present) activation_backward(y_->grad, y_->f32(), activation_, n);
    const float *x = x_->f32(), *number = number_->f32(), *dy = y_->grad;
    float* dx = x_->grad;
    if (!dx_.accumulate) std::fill_n(dx, n, 0.0f);
    dispatch(kind_, [&](auto kind) {
      parallel_ranges(n, kGrain, [=, left = left_](int64_t b, int64_t e) {
        if (left)
          apply_backward<decltype(kind)::value, true>(dx + b, dy + b, x + b, number, e - b, true, false);
        else
          apply_backward<decltype(kind)::value, false>(dx + b, dy + b, number, x + b, e - b, false, true);
      });
    });
  }

 private:
  BinaryKind kind_;
  bool left_;
  Activation activation_;
  Slot *x_, *number_, *y_;
  GradTarget dx_;
};

// Spares the larger operand the way to row-major order and back.
bool build_in_layout(Lowering& l, BinaryKind kind) {
  for (size_t i = 0; i < 2; ++i) {
    const Shape &x = l.input_shape(i), &s = l.input_shape(1 - i);
    if (x != l.output_shape() || element_count(x) == 0 || is_plain(l.input(i)->desc, x)) continue;
    if (l.input_is_constant(1 - i) && element_count(s) == 1 && s.size() <= x.size() &&
        (unpadded(*l.input(i)) || kind == BinaryKind::kMul)) {
      l.add_step(std::make_unique<NumberStep>(l, kind, i));
      return true;
    }
    if (build_binary_with_channels(l, kind, i)) return true;
  }
  return false;
}

class BroadcastStep : public Step {
 public:
  BroadcastStep(Lowering& l, BinaryKind kind)
      : kind_(kind), activation_(l.activation()), a_(l.input_plain(0)), b_(l.input_plain(1)), y_(l.output_plain()) {
    runs_ = Runs<2>(y_->shape, {broadcast_strides(a_->shape, y_->shape), broadcast_strides(b_->shape, y_->shape)});
    a_moves_ = runs_.step(0) != 0 || runs_.run() == 1;
    b_moves_ = runs_.step(1) != 0 || runs_.run() == 1;
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
    dispatch(kind_, [&](auto kind) {
      parallel_ranges(runs_.rows(), std::max<int64_t>(1, kGrain / std::max<int64_t>(runs_.run(), 1)), [&](int64_t begin, int64_t end) {
        runs_.each(begin, end, [&](int64_t i, const auto& at) {
          apply<decltype(kind)::value>(y + i, a + at[0], b + at[1], runs_.run(), a_moves_, b_moves_);
        });
      });
    });
    if (activation_.present) activation_forward(y, activation_, static_cast<int64_t>(y_->floats()));
  }
  void backward() override {
    if (activation_.present) activation_backward(y_->grad, y_->f32(), activation_, static_cast<int64_t>(y_->floats()));
    const float *a = a_->f32(), *b = b_->f32(), *dy = y_->grad;
    dispatch(kind_, [&](auto kind) {
      if (da_) {
        if (!da_.accumulate) std::fill_n(a_->grad, a_->floats(), 0.0f);
        runs_.each(0, runs_.rows(), [&](int64_t i, const auto& at) {
          apply_backward<decltype(kind)::value, true>(a_->grad + at[0], dy + i, a + at[0], b + at[1], runs_.run(), a_moves_, b_moves_);
        });
      }
      if (db_) {
        if (!db_.accumulate) std::fill_n(b_->grad, b_->floats(), 0.0f);
        runs_.each(0, runs_.rows(), [&](int64_t i, const auto& at) {
          apply_backward<decltype(kind)::value, false>(b_->grad + at[1], dy + i, a + at[0], b + at[1], runs_.run(), a_moves_, b_moves_);
        });
      }
    });
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
  void walk(const Body& body) const {  // every element
    runs_.each(0, runs_.rows(), [&](int64_t i, const auto& at) {
      for (int64_t k = 0; k < runs_.run(); ++k) body(i + k, at[0] + k * runs_.step(0), at[1] + k * runs_.step(1));
    });
  }
  BinaryKind kind_;
  Activation activation_;
  Slot *a_, *b_, *y_;
  Runs<2> runs_;  // a, b
  bool a_moves_, b_moves_;
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
  if (float_result && build_in_layout(l, kind)) return;
  l.add_step(std::make_unique<BroadcastStep>(l, kind));
}

}  // namespace actmatch::cpu
