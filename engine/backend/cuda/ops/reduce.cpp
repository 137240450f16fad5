// Sums, means and extremes over axes, and softmax along one.
#include "engine/backend/cuda/ops/build_for.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

namespace {

template <class T>
class ReduceStep : public Step {
 public:
  explicit ReduceStep(Lowering& l) : Step(l.engine()) {
    const auto& attrs = std::get<ReduceAttrs>(l.node().attrs);
    op_ = static_cast<launch::ReduceOp>(attrs.kind);
    x_ = l.input(0);
    y_ = l.output(attrs.keep_dims ? x_->form.layout : Layout::kRows);
    // Where each axis of x goes in y: its stride there, 0 when reduced.
    Shape kept = x_->shape;
    for (int64_t axis : attrs.axes) kept[static_cast<size_t>(axis)] = 1;
    std::vector<int64_t> y_strides = strides_of(kept, attrs.keep_dims ? y_->form.layout : Layout::kRows);
    for (int64_t axis : attrs.axes) y_strides[static_cast<size_t>(axis)] = 0;
    extents_ = Dims(x_->shape);
    x_strides_ = Dims(x_->strides());
    y_strides_ = Dims(y_strides);
    work_ = add_scratch(launch::reduce_scratch_bytes(extents_, y_strides_), Scratch::When::kForward);
    reads = {x_};
    writes = {y_};
    differentiate(dx_, x_, l.wants(0));
    if (!dx_) return;
    backward_work_ = add_scratch(launch::reduce_backward_scratch_bytes(op_, extents_, y_strides_), Scratch::When::kBackward);
    if (op_ == launch::ReduceOp::kMax || op_ == launch::ReduceOp::kMin) backward_reads = {x_, y_};
  }
  void forward() override {
    ACTMATCH_CUDA(launch::reduce(stream(), y_->as<T>(), x_->as<T>(), op_, extents_, y_strides_, x_strides_, false, address(work_)));
  }
  void backward() override {
    ACTMATCH_CUDA(launch::reduce_backward(stream(), x_->grad_as<T>(), y_->grad_as<T>(), reinterpret_cast<const T*>(x_->data),
                                          reinterpret_cast<const T*>(y_->data), op_, extents_, x_strides_, y_strides_, dx_.accumulate,
                                          address(backward_work_)));
  }

 private:
  launch::ReduceOp op_ = launch::ReduceOp::kSum;
  Slot *x_ = nullptr, *y_ = nullptr;
  Dims extents_, x_strides_, y_strides_;
  Scratch *work_ = nullptr, *backward_work_ = nullptr;
  GradTarget dx_;
};

template <class T>
class SoftmaxStep : public Step {
 public:
  explicit SoftmaxStep(Lowering& l) : Step(l.engine()) {
    const auto& attrs = std::get<SoftmaxAttrs>(l.node().attrs);
    log_ = attrs.log;
    const auto axis = static_cast<size_t>(attrs.axis);
    const Shape& shape = l.input_shape(0);
    x_ = l.input(0);
    extent_ = shape[axis];
    if (x_->form.layout == Layout::kChannelsLast && shape.size() == 4 && axis == 1) {
      outer_ = shape[0] * shape[2] * shape[3];
    } else {
      x_ = l.input_as(0, Layout::kRows);
      for (size_t i = 0; i < axis; ++i) outer_ *= shape[i];
      for (size_t i = axis + 1; i < shape.size(); ++i) inner_ *= shape[i];
    }
    y_ = l.output(x_->form.layout);
    reads = {x_};
    writes = {y_};
    differentiate(dx_, x_, l.wants(0));
    if (dx_) backward_reads = {y_};
  }
  void forward() override { ACTMATCH_CUDA(launch::softmax(stream(), y_->as<T>(), x_->as<T>(), log_, outer_, extent_, inner_)); }
  void backward() override {
    ACTMATCH_CUDA(
        launch::softmax_backward(stream(), x_->grad_as<T>(), y_->grad_as<T>(), y_->as<T>(), log_, outer_, extent_, inner_, dx_.accumulate));
  }

 private:
  bool log_ = false;
  Slot *x_ = nullptr, *y_ = nullptr;
  int64_t outer_ = 1, extent_ = 1, inner_ = 1;
  GradTarget dx_;
};

}  // namespace

void build_reduce(Lowering& l) { add_step_for<ReduceStep>(l, l.store()); }
void build_softmax(Lowering& l) { add_step_for<SoftmaxStep>(l, l.store()); }

}  // namespace actmatch::cuda
