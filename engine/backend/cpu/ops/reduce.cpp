// Sums, means and extremes over axes. The mean over all positions of a feature map (global average pooling) reads any channel layout;
// everything else is row-major. Gradients: sum and mean spread evenly, max and min go to the extreme elements in equal shares.
#include <cmath>

#include "engine/backend/cpu/loops.h"
#include "engine/backend/cpu/runs.h"

namespace actmatch::cpu {

namespace {

ACTMATCH_MULTIVERSION void add_rows(float* sum, const float* x, int64_t positions, int64_t step, int64_t width) {
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t c = 0; c < width; ++c) sum[c] += x[p * step + c];
}
ACTMATCH_MULTIVERSION float sum_run(const float* x, int64_t n) {
  // Eight running sums: a fixed order that vector units can follow.
  float part[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; ++k) part[k] += x[i + k];
  float total = 0.0f;
  for (; i < n; ++i) total += x[i];
  for (float v : part) total += v;
  return total;
}

// y[n, c] = scale * sum over positions.
class PositionSumStep : public Step {
 public:
  PositionSumStep(Slot* x, Slot* y, ChannelLayout layout, float scale, bool wants) : x_(x), y_(y), layout_(layout), scale_(scale) {
    reads = {x};
    writes = {y};
    if (wants) {
      dx_.slot = x;
      grads = {&dx_};
    }
  }
  void forward() override {
    const ChannelLayout& g = layout_;
    const int64_t groups = (g.C + g.block - 1) / g.block;
    parallel_ranges(g.N * groups, std::max<int64_t>(1, kGrain / std::max<int64_t>(g.P * g.block, 1)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / groups, o = i % groups, width = std::min(g.block, g.C - o * g.block);
        const float* x = x_->f32() + n * g.batch + o * g.outer;
        float* y = y_->f32() + n * g.C + o * g.block;
        if (g.block == 1 && g.position == 1) {
          y[0] = scale_ * sum_run(x, g.P);
          continue;
        }
        std::fill_n(y, width, 0.0f);
        add_rows(y, x, g.P, g.position, width);
        for (int64_t c = 0; c < width; ++c) y[c] *= scale_;
      }
    });
  }
  void backward() override {
    const ChannelLayout& g = layout_;
    const int64_t groups = (g.C + g.block - 1) / g.block;
    if (!dx_.accumulate && !unpadded(*x_)) std::fill_n(x_->grad, x_->floats(), 0.0f);
    parallel_ranges(g.N * groups, std::max<int64_t>(1, kGrain / std::max<int64_t>(g.P * g.block, 1)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / groups, o = i % groups, width = std::min(g.block, g.C - o * g.block);
        float* dx = x_->grad + n * g.batch + o * g.outer;
        const float* dy = y_->grad + n * g.C + o * g.block;
        for (int64_t p = 0; p < g.P; ++p)
          for (int64_t c = 0; c < width; ++c) {
            float& target = dx[p * g.position + c];
            target = (dx_.accumulate ? target : 0.0f) + scale_ * dy[c];
          }
      }
    });
  }

 private:
  Slot *x_, *y_;
  ChannelLayout layout_;
  float scale_;
  GradTarget dx_;
};

// One run of x: to one element of y, or element by element.
ACTMATCH_MULTIVERSION void add_run(float* y, const float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}
ACTMATCH_MULTIVERSION void take_largest(float* y, const float* x, int64_t n, float sign) {  // sign -1: smallest
  for (int64_t i = 0; i < n; ++i) y[i] = sign * y[i] < sign * x[i] ? x[i] : y[i];
}
ACTMATCH_MULTIVERSION float largest_of(float y, const float* x, int64_t n, float sign) {
  constexpr int64_t kLanes = 16;
  float top[kLanes];
  for (float& t : top) t = y;
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t k = 0; k < kLanes; ++k) top[k] = sign * top[k] < sign * x[i + k] ? x[i + k] : top[k];
  for (int64_t i = whole; i < n; ++i) top[0] = sign * top[0] < sign * x[i] ? x[i] : top[0];
  for (const float t : top) y = sign * y < sign * t ? t : y;
  return y;
}
ACTMATCH_MULTIVERSION void spread_run(float* dx, const float* dy, float scale, int64_t n, bool moves) {
  if (moves)
    for (int64_t i = 0; i < n; ++i) dx[i] += scale * dy[i];
  else
    for (int64_t i = 0; i < n; ++i) dx[i] += scale * *dy;
}

class ReduceStep : public Step {
 public:
  ReduceStep(Lowering& l, const ReduceAttrs& a) : attrs_(a), x_(l.input_plain(0)), y_(l.output_plain()) {
    const Shape& shape = x_->shape;
    // Where each axis of x goes in y: its stride there, 0 when reduced.
    Shape kept = shape;
    for (int64_t axis : a.axes) kept[static_cast<size_t>(axis)] = 1;
    auto y_strides = row_major_strides(kept);
    for (int64_t axis : a.axes) y_strides[static_cast<size_t>(axis)] = 0;
    runs_ = Runs<1>(shape, {y_strides});
    count_ = 1;
    for (int64_t axis : a.axes) count_ *= shape[static_cast<size_t>(axis)];
    reads = {x_};
    writes = {y_};
    if (l.wants(0)) {
      dx_.slot = x_;
      grads = {&dx_};
      if (is_extreme()) {
        backward_reads = {x_, y_};
        ties_ = add_scratch(std::max(y_->bytes, sizeof(float)), Scratch::When::kBackward);
      }
    }
  }
  void forward() override {
    float* y = y_->f32();
    const float* x = x_->f32();
    const float start = attrs_.kind == ReduceKind::kMax ? -INFINITY : attrs_.kind == ReduceKind::kMin ? INFINITY : 0.0f;
    std::fill_n(y, y_->floats(), start);
    const bool moves = runs_.step(0) != 0;
    const float sign = attrs_.kind == ReduceKind::kMin ? -1.0f : 1.0f;
    const auto row = [&](int64_t i, const auto& at) {
      if (is_extreme() && moves)
        take_largest(y + at[0], x + i, runs_.run(), sign);
      else if (is_extreme())
        y[at[0]] = largest_of(y[at[0]], x + i, runs_.run(), sign);
      else if (moves)
        add_run(y + at[0], x + i, runs_.run());
      else
        y[at[0]] += sum_run(x + i, runs_.run());
    };
    runs_.each(0, runs_.rows(), row);
    if (attrs_.kind == ReduceKind::kMean)
      for (size_t i = 0; i < y_->floats(); ++i) y[i] /= static_cast<float>(count_);
  }
  void backward() override {
    float* dx = x_->grad;
    const float* dy = y_->grad;
    if (!dx_.accumulate) std::fill_n(dx, x_->floats(), 0.0f);
    if (is_extreme()) {
      const float *x = x_->f32(), *y = y_->f32();
      auto* ties = reinterpret_cast<float*>(ties_->data);
      std::fill_n(ties, y_->floats(), 0.0f);
      walk([&](int64_t i, int64_t o) { ties[o] += x[i] == y[o] ? 1.0f : 0.0f; });
      walk([&](int64_t i, int64_t o) { dx[i] += x[i] == y[o] ? dy[o] / ties[o] : 0.0f; });
      return;
    }
    const float scale = attrs_.kind == ReduceKind::kMean ? 1.0f / static_cast<float>(count_) : 1.0f;
    runs_.each(0, runs_.rows(), [&](int64_t i, const auto& at) { spread_run(dx + i, dy + at[0], scale, runs_.run(), runs_.step(0) != 0); });
  }

 private:
  bool is_extreme() const { return attrs_.kind == ReduceKind::kMax || attrs_.kind == ReduceKind::kMin; }
  template <class Body>
  void walk(const Body& body) const {  // every element i of x in order, with its place o in y
    runs_.each(0, runs_.rows(), [&](int64_t i, const auto& at) {
      for (int64_t k = 0; k < runs_.run(); ++k) body(i + k, at[0] + k * runs_.step(0));
    });
  }
  ReduceAttrs attrs_;
  Slot *x_, *y_;
  Runs<1> runs_;  // y
  int64_t count_ = 1;
  Scratch* ties_ = nullptr;
  GradTarget dx_;
};

}  // namespace

void build_reduce(Lowering& l) {
  if (l.graph().value(l.node().output).dtype != DType::kF32) return build_on_host(l);
  const auto& a = std::get<ReduceAttrs>(l.node().attrs);
  const bool over_positions = l.input_shape(0).size() == 4 && a.axes == std::vector<int64_t>{2, 3};
  if (over_positions && (a.kind == ReduceKind::kSum || a.kind == ReduceKind::kMean)) {
    Slot* x = l.input(0);
    if (const auto layout = channel_layout(*x)) {
      const float scale = a.kind == ReduceKind::kMean ? 1.0f / static_cast<float>(layout->P) : 1.0f;
      l.add_step(std::make_unique<PositionSumStep>(x, l.output_plain(), *layout, scale, l.wants(0)));
      return;
    }
  }
  l.add_step(std::make_unique<ReduceStep>(l, a));
}

}  // namespace actmatch::cpu
