// Matrix products over leading batch axes that broadcast: y[b] = A[b] B[b] + bias, then the clip. Batches that lie at one distance go in
// one call; when only A carries a batch (the usual linear layer), all its rows are one matrix.
#include <array>
#include <optional>

#include "engine/backend/cuda/ops/build_for.h"
#include "engine/backend/lowering_rules.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

namespace {

// Products of one call: `count` of them, whose matrices begin at first + i * step (in matrices).
struct Run {
  int64_t a = 0, b = 0, y = 0, a_step = 0, b_step = 0, count = 1;
};

struct Product {
  int64_t M = 0, N = 0, K = 0;
  std::vector<Run> runs;
  bool a_repeats = false, b_repeats = false;  // one matrix takes part in several products: their gradients add up
};

Product product_of(const MatMulAttrs& attrs, const Shape& a, const Shape& b, const Shape& y) {
  Product p{y[y.size() - 2], y[y.size() - 1], attrs.transpose_a ? a[a.size() - 2] : a[a.size() - 1], {}, false, false};
  const Shape batch(y.begin(), y.end() - 2);
  const int64_t count = element_count(batch);
  const bool b_single = b.size() == 2 || element_count(Shape(b.begin(), b.end() - 2)) == 1;
  if (b_single && element_count(a) == count * p.M * p.K && !attrs.transpose_a) {
    p.M *= count;
    p.runs = {Run{}};
    return p;
  }
  p.a_repeats = element_count(a) != count * p.M * p.K;
  p.b_repeats = element_count(b) != count * p.K * p.N;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = operand_matrix(batch, a, i), bt = operand_matrix(batch, b, i);
    if (!p.runs.empty()) {
      Run& run = p.runs.back();
      const int64_t a_step = run.count == 1 ? at - run.a : run.a_step, b_step = run.count == 1 ? bt - run.b : run.b_step;
      if (a_step >= 0 && b_step >= 0 && at == run.a + run.count * a_step && bt == run.b + run.count * b_step) {
        run.a_step = a_step, run.b_step = b_step, ++run.count;
        continue;
      }
    }
    p.runs.push_back({at, bt, i, 0, 0, 1});
  }
  return p;
}

// c (+)= op(a) op(b) by the library or by our kernel.
template <class T>
class Gemm {
 public:
  // `aligned`: the matrices begin where the library wants them to.
  Gemm(const Engine& engine, const launch::GemmShape& shape, bool aligned) : engine_(engine), shape_(shape), aligned_(aligned) {}
  // Before memory is planned; the bytes that run() wants to work in.
  size_t prepare(bool accumulate) {
    accumulate_ = accumulate;
    if (!engine_.products || !aligned_ || shape_.K == 0 || shape_.M == 0 || shape_.N == 0) return 0;
    runner_ = engine_.products->find({engine_.library_precision(), shape_.M, shape_.N, shape_.K, shape_.batch, shape_.transpose_a,
                                      shape_.transpose_b, shape_.a_stride, shape_.b_stride, shape_.c_stride, accumulate});
    return runner_ ? runner_->workspace_bytes() : 0;
  }
  // `bias` [N] may be null; it and the clip come after the sum.
  void run(T* c, const T* a, const T* b, const T* bias, const Clip& clip, void* work) const {
    const cudaStream_t stream = engine_.stream;
    if (!runner_) {
      ACTMATCH_CUDA(launch::gemm(stream, c, a, b, bias, shape_, accumulate_, clip));
      return;
    }
    runner_->run(c, a, b, work);
    const int64_t rows = shape_.batch * shape_.M;
    if (bias)
      ACTMATCH_CUDA(
          launch::binary(stream, c, c, bias, launch::BinaryOp::kAdd, {rows, shape_.N}, {shape_.N, 1}, {shape_.N, 1}, {0, 1}, clip));
    else if (clip.changes())
      ACTMATCH_CUDA(launch::clip_inplace(stream, c, clip, rows * shape_.N));
  }
  std::string description() const { return runner_ ? runner_->description() : "kernel"; }

 private:
  const Engine& engine_;
  launch::GemmShape shape_;
  bool aligned_, accumulate_ = false;
  std::shared_ptr<MatMulRunner> runner_;
};

template <class T>
class MatMulStep : public Step {
 public:
  explicit MatMulStep(Lowering& l)
      : Step(l.engine()),
        attrs_(std::get<MatMulAttrs>(l.node().attrs)),
        product_(product_of(attrs_, l.input_shape(0), l.input_shape(1), l.output_shape())),
        a_(l.input_as(0, Layout::kRows)),
        b_(l.input_as(1, Layout::kRows)),
        bias_(l.has_input(2) ? l.input_weights(2, Layout::kRows) : nullptr),
        y_(l.output(Layout::kRows)) {
    reads = {a_, b_};
    if (bias_) reads.push_back(bias_);
    writes = {y_};
    if (l.wants(2)) {
      bias_gradient_ = l.input_f32(2);
      bias_work_ =
          add_scratch(launch::reduce_scratch_bytes(product_.N, y_->count() / std::max<int64_t>(product_.N, 1)), Scratch::When::kBackward);
    }
    differentiate(dbias_, bias_gradient_, l.wants(2));
    differentiate(da_, a_, l.wants(0));
    differentiate(db_, b_, l.wants(1));
    if (!grads.empty() && y_->clip.changes()) backward_reads.push_back(y_);
    if (da_) backward_reads.push_back(b_);
    if (db_) backward_reads.push_back(a_);
  }

  void plan() override {
    size_t forward_bytes = 0, backward_bytes = 0;
    for (const Run& run : product_.runs) {
      forward_.push_back({engine(),
                          {product_.M, product_.N, product_.K, run.count, attrs_.transpose_a, attrs_.transpose_b, run.a_step * a_size(),
                           run.b_step * b_size(), y_size()},
                          is_aligned(run)});
      forward_bytes = std::max(forward_bytes, forward_.back().prepare(false));
    }
    if (da_)
      add_gradients(
          product_.a_repeats, a_gradient_, [&](const Run& run) { return a_gradient(run); }, da_.accumulate, backward_bytes);
    if (db_)
      add_gradients(
          product_.b_repeats, b_gradient_, [&](const Run& run) { return b_gradient(run); }, db_.accumulate, backward_bytes);
    forward_work_ = add_scratch(forward_bytes, Scratch::When::kForward);
    backward_work_ = add_scratch(backward_bytes, Scratch::When::kBackward);
  }

  void forward() override {
    if (y_->count() == 0) return;
    const T* bias = bias_ ? bias_->as<T>() : nullptr;
    for (size_t i = 0; i < product_.runs.size(); ++i) {
      const Run& run = product_.runs[i];
      forward_[i].run(y_->as<T>() + run.y * y_size(), a_->as<T>() + run.a * a_size(), b_->as<T>() + run.b * b_size(), bias, y_->clip,
                      address(forward_work_));
    }
  }

  void backward() override {
    undo_clip<T>(*y_);
    const T* dy = y_->grad_as<T>();
    if (dbias_) {
      const int64_t N = product_.N;
      ACTMATCH_CUDA(launch::bias_gradient(stream(), bias_gradient_->grad_as<float>(), dy, N == 0 ? 0 : y_->count() / N, N,
                                          dbias_.accumulate, address(bias_work_)));
    }
    if (da_) {
      begin_gradient(da_, product_.a_repeats);
      for (const auto& [gemm, run] : a_gradient_) {
        const T *b = b_->as<T>() + run.b * b_size(), *d = dy + run.y * y_size();
        gemm.run(a_->grad_as<T>() + run.a * a_size(), attrs_.transpose_a ? b : d, attrs_.transpose_a ? d : b, nullptr, kernels::kNoClip,
                 address(backward_work_));
      }
    }
    if (db_) {
      begin_gradient(db_, product_.b_repeats);
      for (const auto& [gemm, run] : b_gradient_) {
        const T *a = a_->as<T>() + run.a * a_size(), *d = dy + run.y * y_size();
        gemm.run(b_->grad_as<T>() + run.b * b_size(), attrs_.transpose_b ? d : a, attrs_.transpose_b ? a : d, nullptr, kernels::kNoClip,
                 address(backward_work_));
      }
    }
  }
  std::string implementation() const override { return forward_.empty() ? "nothing" : forward_.front().description(); }

 private:
  using Gradient = std::pair<Gemm<T>, Run>;
  int64_t a_size() const { return product_.M * product_.K; }
  int64_t b_size() const { return product_.K * product_.N; }
  int64_t y_size() const { return product_.M * product_.N; }

  bool is_aligned(const Run& run) const {
    const auto fits = [](int64_t elements) { return elements * static_cast<int64_t>(sizeof(T)) % 16 == 0; };
    return fits(run.a * a_size()) && fits(run.b * b_size()) && fits(run.y * y_size());
  }

  // A = (M x K), or stored K x M: dA' = B dY'.
  launch::GemmShape a_gradient(const Run& run) const {
    const auto& [M, N, K] = std::tie(product_.M, product_.N, product_.K);
    if (attrs_.transpose_a) return {K, M, N, run.count, attrs_.transpose_b, true, run.b_step * b_size(), y_size(), run.a_step * a_size()};
    return {M, K, N, run.count, false, !attrs_.transpose_b, y_size(), run.b_step * b_size(), run.a_step * a_size()};
  }
  launch::GemmShape b_gradient(const Run& run) const {
    const auto& [M, N, K] = std::tie(product_.M, product_.N, product_.K);
    if (attrs_.transpose_b) return {N, K, M, run.count, true, attrs_.transpose_a, y_size(), run.a_step * a_size(), run.b_step * b_size()};
    return {K, N, M, run.count, !attrs_.transpose_a, false, run.a_step * a_size(), y_size(), run.b_step * b_size()};
  }
  // Where a matrix is repeated, its products are added one after another, so that the order of the sum is fixed.
  template <class Shape>
  void add_gradients(bool repeats, std::vector<Gradient>& list, const Shape& shape, bool accumulate, size_t& bytes) {
    for (const Run& run : product_.runs)
      for (int64_t i = 0; i < (repeats ? run.count : 1); ++i) {
        Run part = run;
        if (repeats) part = {run.a + i * run.a_step, run.b + i * run.b_step, run.y + i, 0, 0, 1};
        list.emplace_back(Gemm<T>(engine(), shape(part), is_aligned(part)), part);
        bytes = std::max(bytes, list.back().first.prepare(accumulate || repeats));
      }
  }
  void begin_gradient(const GradTarget& target, bool repeats) const {
    const bool nothing_written = y_->count() == 0 || product_.K == 0;
    if (!target.accumulate && (repeats || nothing_written)) fill_zero(stream(), target.slot->grad, target.slot->gradient_bytes());
  }

  MatMulAttrs attrs_;
  Product product_;
  Slot *a_, *b_, *bias_, *y_, *bias_gradient_ = nullptr;
  std::vector<Gemm<T>> forward_;
  std::vector<Gradient> a_gradient_, b_gradient_;
  Scratch *forward_work_ = nullptr, *backward_work_ = nullptr, *bias_work_ = nullptr;
  GradTarget da_, db_, dbias_;
};

}  // namespace

void build_matmul(Lowering& l) { add_step_for<MatMulStep>(l, l.store()); }

}  // namespace actmatch::cuda
