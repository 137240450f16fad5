// Elementwise functions of one and two arguments, in the layout of their input.
#include "engine/backend/cuda/ops/build_for.h"
#include "engine/graph/op_table.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

namespace {

template <class T>
class UnaryStep : public Step {
 public:
  explicit UnaryStep(Lowering& l)
      : Step(l.engine()), attrs_(std::get<UnaryAttrs>(l.node().attrs)), x_(l.input(0)), y_(l.output(x_->form.layout)) {
    reads = {x_};
    writes = {y_};
    differentiate(dx_, x_, l.wants(0));
    if (!dx_) return;
    const BackwardNeeds needs = op_info(OpKind::kUnary).needs(attrs_, {true});
    if (needs.inputs[0]) backward_reads.push_back(x_);
    if (needs.output) backward_reads.push_back(y_);
  }
  void forward() override {
    ACTMATCH_CUDA(launch::unary(stream(), y_->as<T>(), x_->as<T>(), op(), attrs_.alpha, attrs_.beta, y_->count()));
  }
  void backward() override {
    ACTMATCH_CUDA(launch::unary_backward(stream(), x_->grad_as<T>(), y_->grad_as<T>(), reinterpret_cast<const T*>(x_->data),
                                         reinterpret_cast<const T*>(y_->data), op(), attrs_.alpha, attrs_.beta, y_->count(),
                                         dx_.accumulate));
  }

 private:
  launch::UnaryOp op() const { return static_cast<launch::UnaryOp>(attrs_.kind); }
  UnaryAttrs attrs_;
  Slot *x_, *y_;
  GradTarget dx_;
};

// Of integers and booleans.
class FlagStep : public Step {
 public:
  explicit FlagStep(Lowering& l)
      : Step(l.engine()),
        invert_(std::get<UnaryAttrs>(l.node().attrs).kind == UnaryKind::kNot),
        x_(l.input(0)),
        y_(l.output(x_->form.layout)) {
    reads = {x_};
    writes = {y_};
  }
  void forward() override {
    if (invert_)
      ACTMATCH_CUDA(launch::logical_not(stream(), y_->as<uint8_t>(), x_->as<uint8_t>(), y_->count()));
    else
      convert(stream(), y_->data, y_->form, x_->data, x_->form, y_->shape, false);
  }

 private:
  bool invert_;
  Slot *x_, *y_;
};

// Operands may lie in any layout: strides say where an element is. The result follows the operand that has its shape and is computed.
Layout leading_layout(Lowering& l, const std::vector<size_t>& operands) {
  for (const bool computed : {true, false})
    for (size_t i : operands)
      if (l.input_shape(i) == l.output_shape() && l.input_is_constant(i) != computed) return l.input(i)->form.layout;
  return Layout::kRows;
}

template <class T>
class BinaryStep : public Step {
 public:
  explicit BinaryStep(Lowering& l) : Step(l.engine()), op_(static_cast<launch::BinaryOp>(std::get<BinaryAttrs>(l.node().attrs).kind)) {
    const Layout layout = leading_layout(l, {0, 1});
    // A constant is put in order once; a value every time, so it stays as it is.
    a_ = l.input_is_constant(0) ? l.input_as(0, layout) : l.input(0);
    b_ = l.input_is_constant(1) ? l.input_as(1, layout) : l.input(1);
    y_ = l.output(layout);
    extents_ = Dims(y_->shape);
    y_strides_ = Dims(y_->strides());
    a_strides_ = Dims(broadcast_strides(a_->shape, a_->form.layout, y_->shape));
    b_strides_ = Dims(broadcast_strides(b_->shape, b_->form.layout, y_->shape));
    reads = {a_, b_};
    writes = {y_};
    differentiate(da_, a_, l.wants(0));
    differentiate(db_, b_, l.wants(1));
    if (grads.empty()) return;
    const BackwardNeeds needs = op_info(OpKind::kBinary).needs(l.node().attrs, {l.wants(0), l.wants(1)});
    if (needs.inputs[0]) backward_reads.push_back(a_);
    if (needs.inputs[1]) backward_reads.push_back(b_);
    if (y_->clip.changes()) backward_reads.push_back(y_);
    a_work_ = da_ ? add_scratch(launch::reduce_scratch_bytes(extents_, a_strides_), Scratch::When::kBackward) : nullptr;
    b_work_ = db_ ? add_scratch(launch::reduce_scratch_bytes(extents_, b_strides_), Scratch::When::kBackward) : nullptr;
  }
  void forward() override {
    ACTMATCH_CUDA(
        launch::binary(stream(), y_->as<T>(), a_->as<T>(), b_->as<T>(), op_, extents_, y_strides_, a_strides_, b_strides_, y_->clip));
  }
  void backward() override {
    undo_clip<T>(*y_);
    if (da_) one_side(da_, launch::Side::kFirst, address(a_work_));
    if (db_) one_side(db_, launch::Side::kSecond, address(b_work_));
  }

 private:
  void one_side(const GradTarget& target, launch::Side side, void* work) {
    ACTMATCH_CUDA(launch::binary_backward(stream(), target.slot->grad_as<T>(), y_->grad_as<T>(), reinterpret_cast<const T*>(a_->data),
                                          reinterpret_cast<const T*>(b_->data), op_, side, extents_, y_strides_, a_strides_, b_strides_,
                                          target.accumulate, work));
  }
  launch::BinaryOp op_;
  Slot *a_ = nullptr, *b_ = nullptr, *y_ = nullptr;
  Dims extents_, y_strides_, a_strides_, b_strides_;
  Scratch *a_work_ = nullptr, *b_work_ = nullptr;
  GradTarget da_, db_;
};

class CompareStep : public Step {
 public:
  explicit CompareStep(Lowering& l)
      : Step(l.engine()),
        op_(static_cast<launch::BinaryOp>(std::get<BinaryAttrs>(l.node().attrs).kind)),
        a_(l.input(0)),
        b_(l.input(1)),
        y_(l.output(leading_layout(l, {0, 1}))) {
    reads = {a_, b_};
    writes = {y_};
  }
  void forward() override {
    with_type(a_->form.store, [&](auto t) {
      using T = decltype(t);
      ACTMATCH_CUDA(launch::compare(stream(), y_->as<uint8_t>(), a_->as<T>(), b_->as<T>(), op_, Dims(y_->shape), Dims(y_->strides()),
                                    Dims(broadcast_strides(a_->shape, a_->form.layout, y_->shape)),
                                    Dims(broadcast_strides(b_->shape, b_->form.layout, y_->shape))));
    });
  }

 private:
  launch::BinaryOp op_;
  Slot *a_, *b_, *y_;
};

class WhereStep : public Step {
 public:
  explicit WhereStep(Lowering& l)
      : Step(l.engine()),
        condition_(l.input(0)),
        in_{l.input(1), l.input(2)},
        y_(l.output(leading_layout(l, {1, 2}))),
        extents_(y_->shape) {
    reads = {condition_, in_[0], in_[1]};
    writes = {y_};
    for (size_t side = 0; side < 2; ++side) {
      differentiate(d_[side], in_[side], l.wants(side + 1));
      if (!d_[side]) continue;
      backward_reads = {condition_};
      work_[side] = add_scratch(launch::reduce_scratch_bytes(extents_, strides_of_operand(*in_[side])), Scratch::When::kBackward);
    }
  }
  void forward() override {
    with_type(y_->form.store, [&](auto t) {
      using T = decltype(t);
      ACTMATCH_CUDA(launch::where(stream(), y_->as<T>(), condition_->as<uint8_t>(), in_[0]->as<T>(), in_[1]->as<T>(), extents_,
                                  Dims(y_->strides()), strides_of_operand(*condition_), strides_of_operand(*in_[0]),
                                  strides_of_operand(*in_[1])));
    });
  }
  void backward() override {
    with_real(y_->grad_store, [&](auto t) {
      using T = decltype(t);
      for (size_t side = 0; side < 2; ++side)
        if (d_[side])
          ACTMATCH_CUDA(launch::where_backward(stream(), in_[side]->grad_as<T>(), y_->grad_as<T>(), condition_->as<uint8_t>(),
                                               side == 0 ? launch::Side::kFirst : launch::Side::kSecond, extents_,
                                               strides_of_operand(*in_[side]), Dims(y_->strides()), strides_of_operand(*condition_),
                                               d_[side].accumulate, address(work_[side])));
    });
  }

 private:
  Dims strides_of_operand(const Slot& x) const { return Dims(broadcast_strides(x.shape, x.form.layout, y_->shape)); }
  Slot* condition_;
  Slot* in_[2];
  Slot* y_;
  Dims extents_;
  Scratch* work_[2] = {};
  GradTarget d_[2];
};

// y = clip(scale[c] x + shift[c]): what is left of a frozen batch norm that no convolution could absorb.
template <class T>
class ScaleShiftStep : public Step {
 public:
  explicit ScaleShiftStep(Lowering& l)
      : Step(l.engine()), x_(l.input(0)), scale_(l.input_f32(1)), shift_(l.input_f32(2)), y_(l.output(x_->form.layout)) {
    const Shape& s = x_->shape;
    C_ = s[1];
    for (size_t i = 2; i < s.size(); ++i) inner_ *= s[i];
    outer_ = s[0];
    if (x_->form.layout == Layout::kChannelsLast && s.size() == 4) outer_ *= std::exchange(inner_, 1);
    reads = {x_, scale_, shift_};
    writes = {y_};
    differentiate(dx_, x_, l.wants(0));
    if (!dx_) return;
    backward_reads = {scale_};
    if (y_->clip.changes()) backward_reads.push_back(y_);
  }
  void forward() override {
    ACTMATCH_CUDA(
        launch::scale_shift(stream(), y_->as<T>(), x_->as<T>(), scale_->as<float>(), shift_->as<float>(), outer_, C_, inner_, y_->clip));
  }
  void backward() override {
    undo_clip<T>(*y_);
    ACTMATCH_CUDA(launch::scale_shift_backward(stream(), x_->grad_as<T>(), y_->grad_as<T>(), scale_->as<float>(), outer_, C_, inner_,
                                               dx_.accumulate));
  }

 private:
  Slot *x_, *scale_, *shift_, *y_;
  int64_t outer_ = 1, C_ = 1, inner_ = 1;
  GradTarget dx_;
};

}  // namespace

void build_unary(Lowering& l) {
  if (l.input_dtype(0) == DType::kF32)
    add_step_for<UnaryStep>(l, l.store());
  else
    l.add_step(std::make_unique<FlagStep>(l));
}

void build_binary(Lowering& l) {
  if (std::get<BinaryAttrs>(l.node().attrs).kind <= BinaryKind::kMax)
    add_step_for<BinaryStep>(l, l.store());
  else
    l.add_step(std::make_unique<CompareStep>(l));
}

void build_where(Lowering& l) { l.add_step(std::make_unique<WhereStep>(l)); }
void build_scale_shift(Lowering& l) { add_step_for<ScaleShiftStep>(l, l.store()); }

}  // namespace actmatch::cuda
