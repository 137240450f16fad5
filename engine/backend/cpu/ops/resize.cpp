// Bilinear and nearest resizing of the spatial axes, on the shared kernels. Row-major.
#include "engine/backend/cpu/loops.h"
#include "kernels/upsample.h"

namespace actmatch::cpu {

namespace {

class ResizeStep : public Step {
 public:
  explicit ResizeStep(Lowering& l)
      : linear_(std::get<ResizeAttrs>(l.node().attrs).mode == ResizeMode::kLinear), x_(l.input_plain(0)), y_(l.output_plain()) {
    reads = {x_};
    writes = {y_};
    if (l.wants(0)) {
      dx_.slot = x_;
      grads = {&dx_};
    }
  }
  void forward() override {
    const auto [planes, h, w, H, W] = sizes();
    if (linear_)
      kernels::resize_bilinear_ref(y_->f32(), x_->f32(), planes, h, w, H, W);
    else
      kernels::resize_nearest_ref(y_->f32(), x_->f32(), planes, h, w, H, W);
  }
  void backward() override {
    const auto [planes, h, w, H, W] = sizes();
    if (linear_)
      kernels::resize_bilinear_backward_ref(x_->grad, y_->grad, planes, h, w, H, W, dx_.accumulate);
    else
      kernels::resize_nearest_backward_ref(x_->grad, y_->grad, planes, h, w, H, W, dx_.accumulate);
  }

 private:
  std::array<int64_t, 5> sizes() const {
    const Shape &x = x_->shape, &y = y_->shape;
    return {x[0] * x[1], x[2], x[3], y[2], y[3]};
  }
  bool linear_;
  Slot *x_, *y_;
  GradTarget dx_;
};

}  // namespace

void build_resize(Lowering& l) { l.add_step(std::make_unique<ResizeStep>(l)); }

}  // namespace actmatch::cpu
