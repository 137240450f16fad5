// Operators that only move elements: reshape, transpose, slice, expand, concatenation, pad, gather, cast. Where an element lies is said by
// strides, so most of them run in the layout of their input.
#include "engine/backend/cuda/ops/build_for.h"
#include "engine/backend/lowering_rules.h"
#include "kernels/cuda.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

namespace {

// y (+)= x over `extents`, whatever is stored.
void copy(cudaStream_t stream, Store y_store, std::byte* y, int64_t y_offset, const Dims& y_strides, Store x_store, const std::byte* x,
          int64_t x_offset, const Dims& x_strides, const Dims& extents, bool accumulate) {
  with_type(y_store, [&](auto to) {
    with_type(x_store, [&](auto from) {
      ACTMATCH_CUDA(launch::copy_strided(stream, reinterpret_cast<decltype(to)*>(y) + y_offset,
                                         reinterpret_cast<const decltype(from)*>(x) + x_offset, extents, y_strides, x_strides, accumulate));
    });
  });
}

// The same elements in the same row-major order, or in another type.
class PlainStep : public Step {
 public:
  PlainStep(Lowering& l, Slot* x, Slot* y) : Step(l.engine()), x_(x), y_(y) {
    reads = {x};
    writes = {y};
    differentiate(dx_, x, l.wants(0));
  }
  void forward() override { copy_all(y_->form.store, y_->data, x_->form.store, x_->data, false); }
  void backward() override { copy_all(x_->grad_store, x_->grad, y_->grad_store, y_->grad, dx_.accumulate); }

 private:
  void copy_all(Store to, std::byte* y, Store from, const std::byte* x, bool accumulate) {
    copy(stream(), to, y, 0, {1}, from, x, 0, {1}, {y_->count()}, accumulate);
  }
  Slot *x_, *y_;
  GradTarget dx_;
};

// y[i0, i1, ...] = x[offset + sum i_k stride_k].
class StridedStep : public Step {
 public:
  StridedStep(Lowering& l, Slot* x, Slot* y, const std::vector<int64_t>& strides, int64_t offset, bool onto)
      : Step(l.engine()), x_(x), y_(y), extents_(y->shape), y_strides_(y->strides()), x_strides_(strides), offset_(offset), onto_(onto) {
    reads = {x};
    writes = {y};
    differentiate(dx_, x, l.wants(0));
  }
  void forward() override {
    copy(stream(), y_->form.store, y_->data, 0, y_strides_, x_->form.store, x_->data, offset_, x_strides_, extents_, false);
  }
  void backward() override {
    if (!onto_ && !dx_.accumulate) fill_zero(stream(), x_->grad, x_->gradient_bytes());
    copy(stream(), x_->grad_store, x_->grad, offset_, x_strides_, y_->grad_store, y_->grad, 0, y_strides_, extents_,
         !onto_ || dx_.accumulate);
  }

 private:
  Slot *x_, *y_;
  Dims extents_, y_strides_, x_strides_;
  int64_t offset_;
  bool onto_;  // every element of x is reached
  GradTarget dx_;
};

// Repeats x along axes; backward, the copies are added up.
class ExpandStep : public Step {
 public:
  ExpandStep(Lowering& l, Slot* x, Slot* y)
      : Step(l.engine()),
        x_(x),
        y_(y),
        extents_(y->shape),
        y_strides_(y->strides()),
        x_strides_(broadcast_strides(x->shape, x->form.layout, y->shape)) {
    reads = {x};
    writes = {y};
    differentiate(dx_, x, l.wants(0));
    if (dx_) work_ = add_scratch(launch::reduce_scratch_bytes(extents_, x_strides_), Scratch::When::kBackward);
  }
  void forward() override {
    copy(stream(), y_->form.store, y_->data, 0, y_strides_, x_->form.store, x_->data, 0, x_strides_, extents_, false);
  }
  void backward() override {
    with_real(x_->grad_store, [&](auto t) {
      using T = decltype(t);
      ACTMATCH_CUDA(launch::reduce(stream(), x_->grad_as<T>(), y_->grad_as<T>(), launch::ReduceOp::kSum, extents_, x_strides_, y_strides_,
                                   dx_.accumulate, address(work_)));
    });
  }

 private:
  Slot *x_, *y_;
  Dims extents_, y_strides_, x_strides_;
  Scratch* work_ = nullptr;
  GradTarget dx_;
};

class ConcatStep : public Step {
 public:
  explicit ConcatStep(Lowering& l) : Step(l.engine()) {
    const auto axis = static_cast<size_t>(std::get<ConcatAttrs>(l.node().attrs).axis);
    Layout layout = Layout::kRows;
    for (size_t i = 0; i < l.input_count(); ++i)
      if (l.input(i)->form.layout == Layout::kChannelsLast && !same_in_both_layouts(l.input_shape(i))) layout = Layout::kChannelsLast;
    y_ = l.output(layout);
    y_strides_ = Dims(y_->strides());
    writes = {y_};
    parts_.resize(l.input_count());
    int64_t offset = 0;
    for (size_t i = 0; i < parts_.size(); ++i) {
      Part& part = parts_[i];
      part.x = l.input(i);
      part.offset = offset * y_strides_.at[axis];
      offset += part.x->shape[axis];
      reads.push_back(part.x);
      differentiate(part.target, part.x, l.wants(i));
    }
  }
  void forward() override {
    for (const Part& p : parts_)
      copy(stream(), y_->form.store, y_->data, p.offset, y_strides_, p.x->form.store, p.x->data, 0, Dims(p.x->strides()), Dims(p.x->shape),
           false);
  }
  void backward() override {
    for (const Part& p : parts_)
      if (p.target)
        copy(stream(), p.x->grad_store, p.x->grad, 0, Dims(p.x->strides()), y_->grad_store, y_->grad, p.offset, y_strides_,
             Dims(p.x->shape), p.target.accumulate);
  }

 private:
  struct Part {
    Slot* x = nullptr;
    int64_t offset = 0;
    GradTarget target;
  };
  std::vector<Part> parts_;
  Slot* y_ = nullptr;
  Dims y_strides_;
};

// Zeros (or another value) around x, or less than all of it where an amount is negative.
template <class T>
class ConstantPadStep : public Step {
 public:
  explicit ConstantPadStep(Lowering& l)
      : Step(l.engine()), value_(std::get<PadAttrs>(l.node().attrs).value), x_(l.input(0)), y_(l.output(x_->form.layout)) {
    const auto& a = std::get<PadAttrs>(l.node().attrs);
    const auto x_strides = x_->strides(), y_strides = y_->strides();
    std::vector<int64_t> extents;
    for (size_t k = 0; k < x_->shape.size(); ++k) {
      const int64_t skip = std::max<int64_t>(0, -a.before[k]), skip_end = std::max<int64_t>(0, -a.after[k]);
      extents.push_back(std::max<int64_t>(0, x_->shape[k] - skip - skip_end));
      crops_ = crops_ || skip > 0 || skip_end > 0;
      x_offset_ += skip * x_strides[k];
      y_offset_ += std::max<int64_t>(0, a.before[k]) * y_strides[k];
    }
    extents_ = Dims(extents);
    x_strides_ = Dims(x_strides);
    y_strides_ = Dims(y_strides);
    reads = {x_};
    writes = {y_};
    differentiate(dx_, x_, l.wants(0));
  }
  void forward() override {
    ACTMATCH_CUDA(launch::fill(stream(), y_->as<T>(), value_, y_->count()));
    copy(stream(), y_->form.store, y_->data, y_offset_, y_strides_, x_->form.store, x_->data, x_offset_, x_strides_, extents_, false);
  }
  void backward() override {
    const bool zero = crops_ && !dx_.accumulate;
    if (zero) fill_zero(stream(), x_->grad, x_->gradient_bytes());
    copy(stream(), x_->grad_store, x_->grad, x_offset_, x_strides_, y_->grad_store, y_->grad, y_offset_, y_strides_, extents_,
         zero || dx_.accumulate);
  }

 private:
  float value_;
  bool crops_ = false;
  Slot *x_, *y_;
  Dims extents_, x_strides_, y_strides_;
  int64_t x_offset_ = 0, y_offset_ = 0;
  GradTarget dx_;
};

// y in the order of its memory: rows of `inner` elements, row i from row source[i] of x.
template <class T>
class IndexedStep : public Step {
 public:
  IndexedStep(Lowering& l, Slot* x, Slot* y, const std::vector<int32_t>& source, int64_t inner)
      : Step(l.engine()), x_(x), y_(y), inner_(inner) {
    index_ = l.table("index", source);
    count_ = static_cast<int64_t>(source.size());
    reads = {x, index_};
    writes = {y};
    differentiate(dx_, x, l.wants(0));
    if (!dx_ || inner == 0) return;
    // For each row of x, the rows of y that came from it.
    rows_ = x->count() / inner;
    std::vector<int32_t> offsets(static_cast<size_t>(rows_) + 1, 0), list(source.size());
    for (int32_t s : source) ++offsets[static_cast<size_t>(s) + 1];
    for (size_t j = 1; j < offsets.size(); ++j) offsets[j] += offsets[j - 1];
    std::vector<int32_t> next(offsets.begin(), offsets.end() - 1);
    for (size_t i = 0; i < source.size(); ++i) list[static_cast<size_t>(next[static_cast<size_t>(source[i])]++)] = static_cast<int32_t>(i);
    offsets_ = l.table("offsets", offsets);
    list_ = l.table("list", list);
    backward_reads = {offsets_, list_};
  }
  void forward() override {
    ACTMATCH_CUDA(launch::gather_indexed(stream(), y_->as<T>(), x_->as<T>(), entries(index_), count_, inner_, 0.0f));
  }
  void backward() override {
    if (rows_ == 0) return;
    ACTMATCH_CUDA(launch::gather_indexed_backward(stream(), x_->grad_as<T>(), y_->grad_as<T>(), entries(offsets_), entries(list_), rows_,
                                                  inner_, dx_.accumulate));
  }

 private:
  static const int32_t* entries(const Slot* table) { return reinterpret_cast<const int32_t*>(table->data); }
  Slot *x_, *y_, *index_ = nullptr, *offsets_ = nullptr, *list_ = nullptr;
  int64_t count_ = 0, inner_, rows_ = 0;
  GradTarget dx_;
};

// The layout of a transposed feature map in which nothing has to move, when there is one.
Layout transposed_layout(const std::vector<int64_t>& strides, const Shape& out) {
  return out.size() == 4 && strides == strides_of(out, Layout::kChannelsLast) ? Layout::kChannelsLast : Layout::kRows;
}

}  // namespace

void build_reshape(Lowering& l) {
  Slot* x = l.input_as(0, Layout::kRows);
  l.add_step(std::make_unique<PlainStep>(l, x, l.output(Layout::kRows)));
}

void build_cast(Lowering& l) {
  Slot* x = l.input(0);
  l.add_step(std::make_unique<PlainStep>(l, x, l.output(x->form.layout)));
}

void build_strided(Lowering& l) {
  Slot* x = l.input(0);
  const Shape& out = l.output_shape();
  if (!std::holds_alternative<TransposeAttrs>(l.node().attrs) && !std::holds_alternative<SliceAttrs>(l.node().attrs)) {
    l.add_step(std::make_unique<ExpandStep>(l, x, l.output(x->shape.size() == out.size() ? x->form.layout : Layout::kRows)));
    return;
  }
  const auto own = x->strides();
  std::vector<int64_t> strides(out.size(), 0);
  if (const auto* transpose = std::get_if<TransposeAttrs>(&l.node().attrs)) {
    for (size_t i = 0; i < out.size(); ++i) strides[i] = own[static_cast<size_t>(transpose->perm[i])];
    l.add_step(std::make_unique<StridedStep>(l, x, l.output(transposed_layout(strides, out)), strides, 0, true));
    return;
  }
  const auto& slice = std::get<SliceAttrs>(l.node().attrs);
  int64_t offset = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    strides[i] = own[i] * slice.steps[i];
    offset += own[i] * slice.starts[i];
  }
  l.add_step(std::make_unique<StridedStep>(l, x, l.output(x->form.layout), strides, offset, false));
}

void build_concat(Lowering& l) { l.add_step(std::make_unique<ConcatStep>(l)); }

void build_pad(Lowering& l) {
  const auto& a = std::get<PadAttrs>(l.node().attrs);
  if (a.mode == PadMode::kConstant) {
    add_step_for<ConstantPadStep>(l, l.store());
    return;
  }
  // Channels stay together where they lie last and are not padded.
  Slot* x = l.input(0);
  const Shape &in = l.input_shape(0), &out = l.output_shape();
  const bool together = x->form.layout == Layout::kChannelsLast && in.size() == 4 && a.before[1] == 0 && a.after[1] == 0;
  if (!together) x = l.input_as(0, Layout::kRows);
  const int64_t inner = together ? in[1] : 1;
  // Rows of memory: all axes but the channels, or all.
  std::vector<size_t> axes;
  for (size_t k = 0; k < in.size(); ++k)
    if (!together || k != 1) axes.push_back(k);
  Shape in_rows, out_rows;
  for (size_t k : axes) in_rows.push_back(in[k]), out_rows.push_back(out[k]);
  const auto own = row_major_strides(in_rows);
  std::vector<int32_t> source(static_cast<size_t>(element_count(out_rows)));
  std::vector<int64_t> index(axes.size(), 0);
  for (int32_t& from : source) {
    int64_t at = 0;
    for (size_t k = 0; k < axes.size(); ++k) at += padded_source(index[k] - a.before[axes[k]], in_rows[k], a.mode) * own[k];
    from = static_cast<int32_t>(at);
    for (size_t k = axes.size(); k-- > 0;) {
      if (++index[k] < out_rows[k]) break;
      index[k] = 0;
    }
  }
  add_step_for<IndexedStep>(l, l.store(), x, l.output(x->form.layout), source, inner);
}

void build_gather(Lowering& l) {
  Slot* x = l.input_as(0, Layout::kRows);
  const GatheredRuns runs = gathered_runs(l.node(), x->shape, l.constant(1));
  const std::vector<int32_t> source(runs.source.begin(), runs.source.end());
  add_step_for<IndexedStep>(l, l.store(), x, l.output(Layout::kRows), source, runs.inner);
}

}  // namespace actmatch::cuda
