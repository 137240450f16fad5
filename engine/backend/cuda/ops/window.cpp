// Pooling and resizing, channels-last. Max pooling remembers which tap of each window won.
#include "engine/backend/cuda/ops/build_for.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

namespace {

template <class T>
class PoolStep : public Step {
 public:
  explicit PoolStep(Lowering& l) : Step(l.engine()), attrs_(std::get<PoolAttrs>(l.node().attrs)) {
    const Shape &x = l.input_shape(0), &y = l.output_shape();
    shape_.N = x[0], shape_.C = x[1], shape_.H = x[2], shape_.W = x[3];
    shape_.out_h = y[2], shape_.out_w = y[3];
    std::copy(attrs_.kernel.begin(), attrs_.kernel.end(), shape_.kernel);
    std::copy(attrs_.strides.begin(), attrs_.strides.end(), shape_.strides);
    std::copy(attrs_.pads.begin(), attrs_.pads.end(), shape_.pads);
    std::copy(attrs_.dilations.begin(), attrs_.dilations.end(), shape_.dilations);
    x_ = l.input_as(0, Layout::kChannelsLast);
    y_ = l.output(Layout::kChannelsLast);
    reads = {x_};
    writes = {y_};
    differentiate(dx_, x_, l.wants(0));
    if (dx_ && is_max()) winner_ = add_scratch(launch::max_pool_winner_bytes(shape_), Scratch::When::kSaved);
  }
  void forward() override {
    if (is_max())
      ACTMATCH_CUDA(launch::max_pool(stream(), y_->as<T>(), address(winner_), x_->as<T>(), shape_));
    else
      ACTMATCH_CUDA(launch::average_pool(stream(), y_->as<T>(), x_->as<T>(), shape_, include_pad()));
  }
  void backward() override {
    if (is_max())
      ACTMATCH_CUDA(launch::max_pool_backward(stream(), x_->grad_as<T>(), y_->grad_as<T>(), address(winner_), shape_, dx_.accumulate));
    else
      ACTMATCH_CUDA(launch::average_pool_backward(stream(), x_->grad_as<T>(), y_->grad_as<T>(), shape_, include_pad(), dx_.accumulate));
  }

 private:
  bool is_max() const { return attrs_.mode == PoolMode::kMax; }
  bool include_pad() const { return attrs_.mode == PoolMode::kAverageIncludePad; }
  PoolAttrs attrs_;
  launch::PoolShape shape_;
  Slot *x_ = nullptr, *y_ = nullptr;
  Scratch* winner_ = nullptr;
  GradTarget dx_;
};

template <class T>
class ResizeStep : public Step {
 public:
  explicit ResizeStep(Lowering& l)
      : Step(l.engine()),
        op_(static_cast<launch::ResizeOp>(std::get<ResizeAttrs>(l.node().attrs).mode)),
        x_(l.input_as(0, Layout::kChannelsLast)),
        y_(l.output(Layout::kChannelsLast)) {
    reads = {x_};
    writes = {y_};
    differentiate(dx_, x_, l.wants(0));
  }
  void forward() override {
    const Shape &x = x_->shape, &y = y_->shape;
    ACTMATCH_CUDA(launch::resize(stream(), y_->as<T>(), x_->as<T>(), op_, x[0], x[2], x[3], y[2], y[3], x[1]));
  }
  void backward() override {
    const Shape &x = x_->shape, &y = y_->shape;
    ACTMATCH_CUDA(
        launch::resize_backward(stream(), x_->grad_as<T>(), y_->grad_as<T>(), op_, x[0], x[2], x[3], y[2], y[3], x[1], dx_.accumulate));
  }

 private:
  launch::ResizeOp op_;
  Slot *x_, *y_;
  GradTarget dx_;
};

}  // namespace

void build_pool(Lowering& l) { add_step_for<PoolStep>(l, l.store()); }
void build_resize(Lowering& l) { add_step_for<ResizeStep>(l, l.store()); }

}  // namespace actmatch::cuda
