#include "engine/backend/cpu/ops/conv_winograd.h"

#include <memory>

#include "engine/backend/cpu/ops/winograd.h"

namespace actmatch::cpu {

namespace {

class WinogradStep : public Step {
 public:
  WinogradStep(Lowering& l, const WinogradShape& shape, const MemoryDesc& x_desc, const MemoryDesc& y_desc)
      : forward_(shape), activation_(l.activation()) {
    x_ = l.input_as(0, x_desc);
    u_ = weights(l, shape, false);
    if (l.has_input(2)) bias_ = l.input_plain(2);
    y_ = l.output(y_desc);
    forward_scratch_ = add_scratch(forward_.scratch_bytes(), Scratch::When::kForward);
    reads = {x_, u_};
    if (bias_) reads.push_back(bias_);
    writes = {y_};
    if (!l.training() || !l.wants(0)) return;
    const WinogradShape turned = turned_shape(shape);
    backward_ = std::make_unique<Winograd>(turned);
    u_backward_ = weights(l, turned, true);
    reads.push_back(u_backward_);
    if (activation_.present) backward_reads.push_back(y_);
    backward_scratch_ = add_scratch(backward_->scratch_bytes(), Scratch::When::kBackward);
    dx_.slot = x_;
    grads.push_back(&dx_);
  }
  void forward() override {
    Winograd::Arguments a;
    a.y = y_->f32(), a.x = x_->f32(), a.u = u_->f32(), a.bias = bias_ ? bias_->f32() : nullptr;
    a.activation = activation_;
    a.scratch = forward_scratch_->data;
    forward_.run(a);
  }
  void backward() override {
    Winograd::Arguments a;
    a.y = x_->grad, a.x = y_->grad, a.u = u_backward_->f32(), a.gate = activation_.present ? y_->f32() : nullptr;
    a.gate_activation = activation_;
    a.accumulate = dx_.accumulate;
    a.scratch = backward_scratch_->data;
    backward_->run(a);
  }
  std::string implementation() const override { return backward_ ? "winograd 4x4 | winograd 4x4" : "winograd 4x4"; }

  // dx = conv(dy, turned kernel): the padding is what the kernel reaches beyond the forward one.
  static WinogradShape turned_shape(const WinogradShape& s) {
    return {s.N, s.K, s.C, s.out_h, s.out_w, s.H, s.W, 2 - s.pad_top, 2 - s.pad_left};
  }

 private:
  static Slot* weights(Lowering& l, const WinogradShape& s, bool turned) {
    return l.weights_as(1, turned ? WeightForm::kWinogradTurned : WeightForm::kWinograd, Winograd::weight_floats(s.C, s.K),
                        [&](float* u, const float* w) { Winograd::transform_weights(u, w, s.C, s.K, turned); });
  }

  Winograd forward_;
  std::unique_ptr<Winograd> backward_;
  Activation activation_;
  Slot *x_ = nullptr, *u_ = nullptr, *u_backward_ = nullptr, *bias_ = nullptr, *y_ = nullptr;
  Scratch *forward_scratch_ = nullptr, *backward_scratch_ = nullptr;
  GradTarget dx_;
};

}  // namespace

bool build_conv_winograd(Lowering& l) {
  const auto& a = std::get<ConvAttrs>(l.node().attrs);
  const Shape &x = l.input_shape(0), &w = l.input_shape(1), &y = l.output_shape();
  if (a.groups != 1 || x.size() != 4 || w[2] != 3 || w[3] != 3) return false;
  for (size_t i = 0; i < 2; ++i)
    if (a.strides[i] != 1 || a.dilations[i] != 1 || a.pads[i] < 0 || a.pads[i] > 2) return false;
  if (!l.input_is_constant(1) || l.wants(1) || l.wants(2)) return false;
  const WinogradShape shape{x[0], x[1], w[0], x[2], x[3], y[2], y[3], a.pads[0], a.pads[1]};
  WinogradShape share = shape;
  if (share.N % l.pictures() == 0) share.N /= l.pictures();
  if (!Winograd::pays(share)) return false;
  const auto blocked = [](const Shape& dims) {
    return MemoryDesc(Dims(dims.begin(), dims.end()), dnnl::memory::data_type::f32, dnnl::memory::format_tag::nChw8c);
  };
  l.add_step(std::make_unique<WinogradStep>(l, shape, blocked(x), blocked(y)));
  return true;
}

}  // namespace actmatch::cpu
