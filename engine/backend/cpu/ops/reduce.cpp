// Sums, means and extremes over axes. The mean over all positions of a feature map (global average pooling) reads any channel layout;
// everything else is row-major. Gradients: sum and mean spread evenly, max and min go to the extreme elements in equal shares.
#include <cmath>

#include "engine/backend/cpu/loops.h"

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

class ReduceStep : public Step {
 public:
  ReduceStep(Lowering& l, const ReduceAttrs& a) : attrs_(a), x_(l.input_plain(0)), y_(l.output_plain()) {
    const Shape& shape = x_->shape;
    // Where each axis of x goes in y: its stride there, 0 when reduced.
    Shape kept = shape;
    for (int64_t axis : a.axes) kept[static_cast<size_t>(axis)] = 1;
    y_strides_ = row_major_strides(kept);
    for (int64_t axis : a.axes) y_strides_[static_cast<size_t>(axis)] = 0;
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
    switch (attrs_.kind) {
      case ReduceKind::kMax: walk([&](int64_t i, int64_t o) { y[o] = std::max(y[o], x[i]); }); break;
      case ReduceKind::kMin: walk([&](int64_t i, int64_t o) { y[o] = std::min(y[o], x[i]); }); break;
      default: walk([&](int64_t i, int64_t o) { y[o] += x[i]; });
    }
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
    walk([&](int64_t i, int64_t o) { dx[i] += scale * dy[o]; });
  }

 private:
  bool is_extreme() const { return attrs_.kind == ReduceKind::kMax || attrs_.kind == ReduceKind::kMin; }
  template <class Body>
  void walk(const Body& body) const {  // every element i of x in order, with its place o in y
    const Shape& shape = x_->shape;
    const int64_t total = element_count(shape);
    if (shape.empty()) {
      body(int64_t{0}, int64_t{0});
      return;
    }
    std::vector<int64_t> index(shape.size(), 0);
    const size_t last = shape.size() - 1;
    int64_t o = 0;
    for (int64_t i = 0; i < total;) {
      for (int64_t k = 0; k < shape[last]; ++k) body(i++, o + k * y_strides_[last]);
      for (size_t axis = last; axis-- > 0;) {
        o += y_strides_[axis];
        if (++index[axis] < shape[axis]) break;
        o -= y_strides_[axis] * shape[axis];
        index[axis] = 0;
      }
    }
  }
  ReduceAttrs attrs_;
  Slot *x_, *y_;
  std::vector<int64_t> y_strides_;
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
