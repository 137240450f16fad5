// y = scale[c] x + shift[c]: what is left of a frozen batch norm that no convolution could absorb. Runs in any channel layout.
#include "engine/backend/cpu/loops.h"

namespace actmatch::cpu {

namespace {

ACTMATCH_MULTIVERSION void scale_run(float* y, const float* x, float scale, float shift, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = scale * x[i] + shift;
}
ACTMATCH_MULTIVERSION void scale_rows(float* y, const float* x, const float* scale, const float* shift, int64_t positions, int64_t step,
                                      int64_t width) {
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t c = 0; c < width; ++c) y[p * step + c] = scale[c] * x[p * step + c] + shift[c];
}
ACTMATCH_MULTIVERSION void scale_gradient_run(float* dx, const float* dy, float scale, int64_t n, bool accumulate) {
  for (int64_t i = 0; i < n; ++i) dx[i] = (accumulate ? dx[i] : 0.0f) + scale * dy[i];
}
ACTMATCH_MULTIVERSION void scale_gradient_rows(float* dx, const float* dy, const float* scale, int64_t positions, int64_t step,
                                               int64_t width, bool accumulate) {
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t c = 0; c < width; ++c) dx[p * step + c] = (accumulate ? dx[p * step + c] : 0.0f) + scale[c] * dy[p * step + c];
}

class ScaleShiftStep : public Step {
 public:
  ScaleShiftStep(Lowering& l, Slot* x, ChannelLayout layout)
      : activation_(l.activation()), x_(x), scale_(l.input_plain(1)), shift_(l.input_plain(2)), y_(l.output(x->desc)), layout_(layout) {
    reads = {x_, scale_, shift_};
    writes = {y_};
    if (l.wants(0)) {
      dx_.slot = x_;
      grads = {&dx_};
      backward_reads = {scale_};
      if (activation_.present) backward_reads.push_back(y_);
    }
  }
  void forward() override {
    const ChannelLayout& g = layout_;
    if (!unpadded(*y_)) std::fill_n(y_->f32(), y_->floats(), 0.0f);
    each_group([&](int64_t at, int64_t channel, int64_t width) {
      if (g.block == 1 && g.position == 1)
        scale_run(y_->f32() + at, x_->f32() + at, scale_->f32()[channel], shift_->f32()[channel], g.P);
      else
        scale_rows(y_->f32() + at, x_->f32() + at, scale_->f32() + channel, shift_->f32() + channel, g.P, g.position, width);
    });
    if (activation_.present) activation_forward(y_->f32(), activation_, static_cast<int64_t>(y_->floats()));
  }
  void backward() override {
    const ChannelLayout& g = layout_;
    if (activation_.present) activation_backward(y_->grad, y_->f32(), activation_, static_cast<int64_t>(y_->floats()));
    if (!dx_.accumulate && !unpadded(*x_)) std::fill_n(x_->grad, x_->floats(), 0.0f);
    each_group([&](int64_t at, int64_t channel, int64_t width) {
      if (g.block == 1 && g.position == 1)
        scale_gradient_run(x_->grad + at, y_->grad + at, scale_->f32()[channel], g.P, dx_.accumulate);
      else
        scale_gradient_rows(x_->grad + at, y_->grad + at, scale_->f32() + channel, g.P, g.position, width, dx_.accumulate);
    });
  }

 private:
  template <class Body>
  void each_group(const Body& body) const {
    const ChannelLayout& g = layout_;
    const int64_t groups = (g.C + g.block - 1) / g.block;
    parallel_ranges(g.N * groups, std::max<int64_t>(1, kGrain / std::max<int64_t>(g.P * g.block, 1)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / groups, o = i % groups;
        body(n * g.batch + o * g.outer, o * g.block, std::min(g.block, g.C - o * g.block));
      }
    });
  }
  Activation activation_;
  Slot *x_, *scale_, *shift_, *y_;
  ChannelLayout layout_;
  GradTarget dx_;
};

}  // namespace

void build_scale_shift(Lowering& l) {
  Slot* x = l.input(0);
  auto layout = channel_layout(*x);
  if (!layout) {
    x = l.input_plain(0);
    layout = channel_layout(*x);
  }
  if (layout->block == 1 && layout->P == 1 && layout->outer == 1) {  // rows of channels: a row at a time, not a number
    layout->block = layout->C;
    layout->outer = 0;
  }
  l.add_step(std::make_unique<ScaleShiftStep>(l, x, *layout));
}

}  // namespace actmatch::cpu
