// A sum or product with one number a channel, or a picture and channel: what is left of an excitation. In the layout of the feature map.
#include "engine/backend/cpu/loops.h"

namespace actmatch::cpu {

namespace {

// Some positions of some channels that lie side by side, `step` apart from one position to the next.
template <bool product>
ACTMATCH_INLINE void channel_rows(float* y, const float* x, const float* s, int64_t positions, int64_t step, int64_t width) {
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t c = 0; c < width; ++c) y[p * step + c] = product ? x[p * step + c] * s[c] : x[p * step + c] + s[c];
}
template <bool product>
ACTMATCH_MULTIVERSION void apply_channels(float* y, const float* x, const float* s, int64_t positions, int64_t step, int64_t width) {
  if (width == 16) return channel_rows<product>(y, x, s, positions, step, 16);
  if (width == 8) return channel_rows<product>(y, x, s, positions, step, 8);
  channel_rows<product>(y, x, s, positions, step, width);
}
ACTMATCH_MULTIVERSION void channel_gradient(float* ds, const float* dy, const float* x, int64_t positions, int64_t step, int64_t width) {
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t c = 0; c < width; ++c) ds[c] += x ? dy[p * step + c] * x[p * step + c] : dy[p * step + c];
}
ACTMATCH_MULTIVERSION void channel_product_gradient(float* dx, const float* dy, const float* s, int64_t positions, int64_t step,
                                                    int64_t width, bool accumulate) {
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t c = 0; c < width; ++c) dx[p * step + c] = (accumulate ? dx[p * step + c] : 0.0f) + dy[p * step + c] * s[c];
}

class ChannelStep : public Step {
 public:
  ChannelStep(Lowering& l, bool product, size_t x, const ChannelLayout& layout)
      : product_(product), activation_(l.activation()), x_(l.input(x)), s_(l.input_plain(1 - x)), y_(l.output(x_->desc)), layout_(layout) {
    pictures_step_ = element_count(s_->shape) == layout.C ? 0 : layout.C;
    reads = {x_, s_};
    writes = {y_};
    const bool wants_x = l.wants(x), wants_s = l.wants(1 - x);
    for (const bool of_x : {x == 0, x != 0}) {  // in the order of the inputs
      GradTarget& target = of_x ? dx_ : ds_;
      if (!(of_x ? wants_x : wants_s)) continue;
      target.slot = of_x ? x_ : s_;
      grads.push_back(&target);
    }
    if (product && wants_x) backward_reads.push_back(s_);
    if (product && wants_s) backward_reads.push_back(x_);
    if (activation_.present) backward_reads.push_back(y_);
  }
  void forward() override {
    if (!unpadded(*y_)) std::fill_n(y_->f32(), y_->floats(), 0.0f);
    const ChannelLayout& g = layout_;
    each_group([&](int64_t at, int64_t n, int64_t channel, int64_t width) {
      const float* s = s_->f32() + n * pictures_step_ + channel;
      if (product_)
        apply_channels<true>(y_->f32() + at, x_->f32() + at, s, g.P, g.position, width);
      else
        apply_channels<false>(y_->f32() + at, x_->f32() + at, s, g.P, g.position, width);
    });
    if (activation_.present) activation_forward(y_->f32(), activation_, static_cast<int64_t>(y_->floats()));
  }
  void backward() override {
    const ChannelLayout& g = layout_;
    const auto floats = static_cast<int64_t>(y_->floats());
    if (activation_.present) activation_backward(y_->grad, y_->f32(), activation_, floats);
    if (dx_ && !product_) put(x_->grad, y_->grad, floats, dx_.accumulate);
    if (dx_ && product_) {
      if (!dx_.accumulate && !unpadded(*x_)) std::fill_n(x_->grad, x_->floats(), 0.0f);
      each_group([&](int64_t at, int64_t n, int64_t channel, int64_t width) {
        channel_product_gradient(x_->grad + at, y_->grad + at, s_->f32() + n * pictures_step_ + channel, g.P, g.position, width,
                                 dx_.accumulate);
      });
    }
    if (!ds_) return;
    if (!ds_.accumulate) std::fill_n(s_->grad, s_->floats(), 0.0f);
    each_group([&](int64_t at, int64_t n, int64_t channel, int64_t width) {
      channel_gradient(s_->grad + n * pictures_step_ + channel, y_->grad + at, product_ ? x_->f32() + at : nullptr, g.P, g.position, width);
    });
  }

 private:
  template <class Body>
  void each_group(const Body& body) const {  // pictures one after the other, since they may share the numbers
    const ChannelLayout& g = layout_;
    const int64_t groups = (g.C + g.block - 1) / g.block;
    parallel_ranges(groups, std::max<int64_t>(1, kGrain / std::max<int64_t>(g.N * g.P * g.block, 1)), [&](int64_t begin, int64_t end) {
      for (int64_t n = 0; n < g.N; ++n)
        for (int64_t o = begin; o < end; ++o) body(n * g.batch + o * g.outer, n, o * g.block, std::min(g.block, g.C - o * g.block));
    });
  }
  bool product_;
  Activation activation_;
  Slot *x_, *s_, *y_;
  ChannelLayout layout_;
  int64_t pictures_step_ = 0;
  GradTarget dx_, ds_;
};

// One number a channel of x, or a picture and channel.
bool is_channel_vector(const Shape& s, const Shape& x) {
  if (x.size() < 3 || s.size() > x.size()) return false;
  const size_t lead = x.size() - s.size();
  bool channels = false;
  for (size_t i = 0; i < s.size(); ++i) {
    const size_t axis = lead + i;
    if (axis > 1 && s[i] != 1) return false;
    if (axis == 1) channels = s[i] == x[1];
    if (axis == 0 && s[i] != 1 && s[i] != x[0]) return false;
  }
  return channels;
}

}  // namespace

bool build_binary_with_channels(Lowering& l, BinaryKind kind, size_t x) {
  if ((kind != BinaryKind::kMul && kind != BinaryKind::kAdd) || !is_channel_vector(l.input_shape(1 - x), l.input_shape(x))) return false;
  const auto layout = channel_layout(*l.input(x));
  if (layout) l.add_step(std::make_unique<ChannelStep>(l, kind == BinaryKind::kMul, x, *layout));
  return layout.has_value();
}

}  // namespace actmatch::cpu
