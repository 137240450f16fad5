// Operators that only move elements: reshape, transpose, slice, expand, pad, gather. All row-major.
// A mover says for each element of y which element of x it comes from (or -1: the fill value); the gradient goes back the same way.
#include <cstring>

#include "engine/backend/cpu/loops.h"
#include "engine/backend/cpu/runs.h"
#include "engine/backend/lowering_rules.h"

namespace actmatch::cpu {

namespace {

class ReshapeStep : public Step {
 public:
  ReshapeStep(Slot* x, Slot* y, bool wants) : x_(x), y_(y) {
    reads = {x};
    writes = {y};
    if (wants) {
      dx_.slot = x;
      grads = {&dx_};
    }
  }
  void forward() override { std::memcpy(y_->data, x_->data, y_->bytes); }
  void backward() override { put(x_->grad, y_->grad, static_cast<int64_t>(y_->floats()), dx_.accumulate); }

 private:
  Slot *x_, *y_;
  GradTarget dx_;
};

// y[a, l] = x[l, a] for one matrix: `columns` of x lie next to each other, those of y are its rows. In blocks that stay in the nearest
// cache.
template <class T, bool add>
ACTMATCH_MULTIVERSION void turn(T* y, int64_t y_row, const T* x, int64_t x_row, int64_t rows, int64_t columns) {
  constexpr int64_t kBlock = 16;
  for (int64_t r0 = 0; r0 < rows; r0 += kBlock)
    for (int64_t c0 = 0; c0 < columns; c0 += kBlock) {
      const int64_t r1 = std::min(r0 + kBlock, rows), c1 = std::min(c0 + kBlock, columns);
      for (int64_t c = c0; c < c1; ++c)
        for (int64_t r = r0; r < r1; ++r)
          if constexpr (add)
            y[c * y_row + r] += x[r * x_row + c];
          else
            y[c * y_row + r] = x[r * x_row + c];
    }
}

// y[i0, i1, ...] = x[offset + sum i_k stride_k]. `onto`: every element of x is reached exactly once.
class StridedStep : public Step {
 public:
  StridedStep(Slot* x, Slot* y, const std::vector<int64_t>& strides, int64_t offset, bool onto, bool wants)
      : x_(x), y_(y), runs_(y->shape, {strides}), offset_(offset), onto_(onto) {
    reads = {x};
    writes = {y};
    if (wants) {
      dx_.slot = x;
      grads = {&dx_};
    }
    find_matrices();
  }
  void forward() override {
    switch (size_of(y_->dtype)) {
      case 4: move<uint32_t>(); break;
      case 8: move<uint64_t>(); break;
      default: move<uint8_t>();
    }
  }
  void backward() override {
    float* dx = x_->grad + offset_;
    const float* dy = y_->grad;
    const bool writes_all = onto_ && !dx_.accumulate;
    if (!writes_all && !dx_.accumulate) std::fill_n(x_->grad, x_->floats(), 0.0f);
    const int64_t n = runs_.run(), step = runs_.step(0);
    if (matrices_ > 0) {
      each_matrix([&](int64_t i, int64_t j) {
        if (writes_all)
          turn<float, false>(dx + j, step, dy + i, y_row_, columns_, n);
        else
          turn<float, true>(dx + j, step, dy + i, y_row_, columns_, n);
      });
      return;
    }
    runs_.each(0, runs_.rows(), [&](int64_t i, const auto& at) {
      float* to = dx + at[0];
      const float* from = dy + i;
      if (writes_all)
        for (int64_t k = 0; k < n; ++k) to[k * step] = from[k];
      else if (step == 1)
        add_to(to, from, n);
      else
        for (int64_t k = 0; k < n; ++k) to[k * step] += from[k];
    });
  }

 private:
  // Where a run of y jumps through x but another axis does not, the two make up a matrix to be turned.
  void find_matrices() {
    if (runs_.step(0) == 1 || runs_.step(0) == 0 || runs_.rows() == 0) return;
    const auto& axes = runs_.outer();
    int64_t y_stride = runs_.run();
    for (size_t axis = axes.size(); axis-- > 0; y_stride *= axes[axis].extent) {
      if (axes[axis].strides[0] != 1) continue;
      turned_ = axis;
      y_row_ = y_stride;
      columns_ = axes[axis].extent;
      matrices_ = runs_.rows() / columns_;
      return;
    }
  }
  template <class Body>
  void each_matrix(const Body& body) const {  // body(where in y, where in x)
    const auto& axes = runs_.outer();
    parallel_ranges(matrices_, std::max<int64_t>(1, kGrain / (columns_ * runs_.run())), [&](int64_t begin, int64_t end) {
      for (int64_t m = begin; m < end; ++m) {
        int64_t rest = m, i = 0, j = 0, y_stride = runs_.run();
        for (size_t axis = axes.size(); axis-- > 0;) {
          if (axis != turned_) {
            const int64_t index = rest % axes[axis].extent;
            rest /= axes[axis].extent;
            i += index * y_stride;
            j += index * axes[axis].strides[0];
          }
          y_stride *= axes[axis].extent;
        }
        body(i, j);
      }
    });
  }
  template <class T>
  void move() {
    const T* x = reinterpret_cast<const T*>(x_->data) + offset_;
    T* y = reinterpret_cast<T*>(y_->data);
    const int64_t n = runs_.run(), step = runs_.step(0);
    if (matrices_ > 0) {
      each_matrix([&](int64_t i, int64_t j) { turn<T, false>(y + i, y_row_, x + j, step, n, columns_); });
      return;
    }
    parallel_ranges(runs_.rows(), std::max<int64_t>(1, kGrain / std::max<int64_t>(n, 1)), [&](int64_t begin, int64_t end) {
      runs_.each(begin, end, [&](int64_t i, const auto& at) {
        if (step == 1 && n > 4)
          std::memcpy(y + i, x + at[0], static_cast<size_t>(n) * sizeof(T));
        else
          for (int64_t k = 0; k < n; ++k) y[i + k] = x[at[0] + k * step];
      });
    });
  }
  Slot *x_, *y_;
  Runs<1> runs_;  // x
  int64_t offset_;
  bool onto_;
  int64_t matrices_ = 0, columns_ = 0, y_row_ = 0;
  size_t turned_ = 0;
  GradTarget dx_;
};

// y[i] = x[source[i]] elementwise, or the fill value where the source is -1.
class IndexedStep : public Step {
 public:
  IndexedStep(Slot* x, Slot* y, std::vector<int64_t> source, float fill, bool wants)
      : x_(x), y_(y), source_(std::move(source)), fill_(fill) {
    reads = {x};
    writes = {y};
    if (wants) {
      dx_.slot = x;
      grads = {&dx_};
    }
  }
  void forward() override {
    const float* x = x_->f32();
    float* y = y_->f32();
    for (size_t i = 0; i < source_.size(); ++i) y[i] = source_[i] < 0 ? fill_ : x[source_[i]];
  }
  void backward() override {
    if (!dx_.accumulate) std::fill_n(x_->grad, x_->floats(), 0.0f);
    for (size_t i = 0; i < source_.size(); ++i)
      if (source_[i] >= 0) x_->grad[source_[i]] += y_->grad[i];
  }

 private:
  Slot *x_, *y_;
  std::vector<int64_t> source_;
  float fill_;
  GradTarget dx_;
};

// Runs of x picked by indices that depend on the input; their gradient is added up where they came from.
class ComputedGatherStep : public Step {
 public:
  explicit ComputedGatherStep(Lowering& l) : node_(l.node()), x_(l.input_plain(0)), indices_(l.input_plain(1)), y_(l.output_plain()) {
    reads = {x_, indices_};
    writes = {y_};
    table_ = Tensor(DType::kI64, indices_->shape);
    if (!l.wants(0)) return;
    dx_.slot = x_;
    grads = {&dx_};
    backward_reads = {indices_};
  }
  void forward() override {
    walk([&](const float* x, float* y, int64_t n) { std::copy_n(x, n, y); }, x_->f32(), y_->f32());
  }
  void backward() override {
    if (!dx_.accumulate) std::fill_n(x_->grad, x_->floats(), 0.0f);
    walk([](float* dx, const float* dy, int64_t n) { add_to(dx, dy, n); }, x_->grad, y_->grad);
  }

 private:
  template <class X, class Y, class Body>
  void walk(const Body& body, X* x, Y* y) {
    if (y_->floats() == 0) return;
    std::memcpy(table_.raw(), indices_->data, table_.bytes());
    const GatheredRuns runs = gathered_runs(node_, x_->shape, table_);
    for (size_t i = 0; i < runs.source.size(); ++i)
      body(x + runs.source[i] * runs.inner, y + static_cast<int64_t>(i) * runs.inner, runs.inner);
  }
  const Node node_;
  Slot *x_, *indices_, *y_;
  Tensor table_;
  GradTarget dx_;
};

}  // namespace

void build_reshape(Lowering& l) {
  Slot* x = l.input_plain(0);
  l.add_step(std::make_unique<ReshapeStep>(x, l.output_plain(), l.wants(0)));
}

void build_strided(Lowering& l) {
  Slot* x = l.input_plain(0);
  const auto own = row_major_strides(x->shape);
  const Shape& out = l.output_shape();
  std::vector<int64_t> strides(out.size(), 0);
  int64_t offset = 0;
  bool onto = false;
  if (const auto* transpose = std::get_if<TransposeAttrs>(&l.node().attrs)) {
    for (size_t i = 0; i < out.size(); ++i) strides[i] = own[static_cast<size_t>(transpose->perm[i])];
    onto = true;
  } else if (const auto* slice = std::get_if<SliceAttrs>(&l.node().attrs)) {
    for (size_t i = 0; i < out.size(); ++i) {
      strides[i] = own[i] * slice->steps[i];
      offset += own[i] * slice->starts[i];
    }
  } else {  // expand
    for (size_t i = 0; i < x->shape.size(); ++i)
      if (x->shape[i] != 1) strides[out.size() - x->shape.size() + i] = own[i];
  }
  l.add_step(std::make_unique<StridedStep>(x, l.output_plain(), strides, offset, onto, l.wants(0)));
}

void build_pad(Lowering& l) {
  if (l.graph().value(l.node().output).dtype != DType::kF32) return build_on_host(l);
  const auto& a = std::get<PadAttrs>(l.node().attrs);
  Slot* x = l.input_plain(0);
  const Shape& out = l.output_shape();
  const auto own = row_major_strides(x->shape);
  std::vector<int64_t> source(static_cast<size_t>(element_count(out)));
  std::vector<int64_t> index(out.size(), 0);
  for (int64_t& from : source) {
    from = 0;
    for (size_t axis = 0; axis < out.size() && from >= 0; ++axis) {
      const int64_t s = padded_source(index[axis] - a.before[axis], x->shape[axis], a.mode);
      from = s < 0 ? -1 : from + s * own[axis];
    }
    for (size_t axis = out.size(); axis-- > 0;) {
      if (++index[axis] < out[axis]) break;
      index[axis] = 0;
    }
  }
  l.add_step(std::make_unique<IndexedStep>(x, l.output_plain(), std::move(source), a.value, l.wants(0)));
}

void build_gather(Lowering& l) {
  if (l.graph().value(l.node().output).dtype != DType::kF32) return build_on_host(l);
  if (!l.input_is_constant(1)) return l.add_step(std::make_unique<ComputedGatherStep>(l));
  Slot* x = l.input_plain(0);
  const GatheredRuns runs = gathered_runs(l.node(), x->shape, l.constant(1));
  std::vector<int64_t> source;
  source.reserve(runs.source.size() * static_cast<size_t>(runs.inner));
  for (int64_t run : runs.source)
    for (int64_t i = 0; i < runs.inner; ++i) source.push_back(run * runs.inner + i);
  l.add_step(std::make_unique<IndexedStep>(x, l.output_plain(), std::move(source), 0.0f, l.wants(0)));
}

}  // namespace actmatch::cpu
