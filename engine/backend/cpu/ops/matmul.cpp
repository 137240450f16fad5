// Matrix products over leading batch axes that broadcast: y[b] = A[b] B[b] + bias. Many rows times frozen weights (tokens through a linear
// layer) are one product on gemm.cpp; everything else is a oneDNN sgemm a matrix. How sgemm sums depends on the number of rows it is given,
// and a picture's numbers must not depend on how many others are in the batch. So there a plain matrix goes through picture by picture,
// where one has several rows (one picture's behind the other's), and by a product of our own where a row is a picture, as in a classifier's
// head.
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <memory>

#include "engine/backend/cpu/loops.h"
#include "engine/backend/cpu/ops/gemm.h"
#include "engine/backend/cpu/ops/thin_product.h"
#include "engine/backend/lowering_rules.h"
#include "engine/core/error.h"

namespace actmatch::cpu {

namespace {

struct MatMulSizes {
  int64_t M, N, K;
  std::vector<int64_t> a_index, b_index;  // by output matrix: which matrix of A and of B
};

MatMulSizes sizes_of(const MatMulAttrs& attrs, const Shape& a, const Shape& b, const Shape& y) {
  MatMulSizes s{y[y.size() - 2], y[y.size() - 1], attrs.transpose_a ? a[a.size() - 2] : a[a.size() - 1], {}, {}};
  const Shape batch(y.begin(), y.end() - 2);
  const int64_t count = element_count(batch);
  for (int64_t i = 0; i < count; ++i) {
    s.a_index.push_back(operand_matrix(batch, a, i));
    s.b_index.push_back(operand_matrix(batch, b, i));
  }
  return s;
}

// The rows of one picture, which go through sgemm together; 0 where a row is a picture. M: of the whole matrix.
int64_t rows_of_picture(const Graph& graph, int64_t M) {
  for (ValueId input : graph.inputs()) {
    const Shape& shape = graph.value(input).shape;
    const int64_t pictures = shape.empty() ? 1 : shape[0];
    if (pictures > 0 && M % pictures == 0 && M > pictures) return M / pictures;
  }
  return 0;
}

void gemm(bool ta, bool tb, int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c, bool accumulate) {
  const int64_t lda = ta ? M : K, ldb = tb ? K : N;
  const dnnl_status_t status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', M, N, K, 1.0f, a, lda, b, ldb, accumulate ? 1.0f : 0.0f, c, N);
  ACTMATCH_CHECK(status == dnnl_success, "matrix product failed");
}

class MatMulStep : public Step {
 public:
  static void build(Lowering& l) {
    auto step = std::make_unique<MatMulStep>();
    MatMulStep& s = *step;
    s.attrs_ = std::get<MatMulAttrs>(l.node().attrs);
    s.sizes_ = sizes_of(s.attrs_, l.input_shape(0), l.input_shape(1), l.output_shape());
    s.activation_ = l.activation();
    s.a_ = l.input_plain(0);
    s.b_ = l.input_plain(1);
    s.reads = {s.a_, s.b_};
    if (l.has_input(2)) {
      s.bias_ = l.input_plain(2);
      s.reads.push_back(s.bias_);
    }
    s.y_ = l.output_plain();
    s.writes = {s.y_};
    if (s.activation_.present) s.backward_reads.push_back(s.y_);
    if (l.wants(0)) {
      s.da_.slot = s.a_;
      s.grads.push_back(&s.da_);
      s.backward_reads.push_back(s.b_);
    }
    if (l.wants(1)) {
      s.db_.slot = s.b_;
      s.grads.push_back(&s.db_);
      s.backward_reads.push_back(s.a_);
    }
    if (l.wants(2)) {
      s.dbias_.slot = s.bias_;
      s.grads.push_back(&s.dbias_);
    }
    s.plain_ = l.input_shape(0).size() == 2 && !s.attrs_.transpose_a;
    if (s.plain_) s.block_ = rows_of_picture(l.graph(), s.sizes_.M);
    l.add_step(std::move(step));
  }

  void forward() override {
    const auto [M, N, K] = std::tuple{sizes_.M, sizes_.N, sizes_.K};
    if (y_->floats() == 0) return;
    for (size_t i = 0; i < sizes_.a_index.size(); ++i) {
      float* y = y_->f32() + static_cast<int64_t>(i) * M * N;
      if (bias_)
        for (int64_t r = 0; r < M; ++r) std::copy_n(bias_->f32(), N, y + r * N);
      if (K == 0) {
        if (!bias_) std::fill_n(y, M * N, 0.0f);
        continue;
      }
      const float *a = a_->f32() + sizes_.a_index[i] * M * K, *b = b_->f32() + sizes_.b_index[i] * K * N;
      if (plain_)
        by_rows({y, a, b, M, N, K, attrs_.transpose_b, bias_ != nullptr});
      else
        gemm(attrs_.transpose_a, attrs_.transpose_b, M, N, K, a, b, y, bias_ != nullptr);
    }
    if (activation_.present) activation_forward(y_->f32(), activation_, static_cast<int64_t>(y_->floats()));
  }

  void backward() override {
    const auto [M, N, K] = std::tuple{sizes_.M, sizes_.N, sizes_.K};
    if (activation_.present) activation_backward(y_->grad, y_->f32(), activation_, static_cast<int64_t>(y_->floats()));
    if (da_ && !da_.accumulate) std::fill_n(a_->grad, a_->floats(), 0.0f);
    if (db_ && !db_.accumulate) std::fill_n(b_->grad, b_->floats(), 0.0f);
    if (dbias_ && !dbias_.accumulate) std::fill_n(bias_->grad, bias_->floats(), 0.0f);
    if (y_->floats() == 0) return;
    for (size_t i = 0; i < sizes_.a_index.size(); ++i) {
      const float* dy = y_->grad + static_cast<int64_t>(i) * M * N;
      const float* a = a_->f32() + sizes_.a_index[i] * M * K;
      const float* b = b_->f32() + sizes_.b_index[i] * K * N;
      if (da_ && K > 0) {
        float* da = a_->grad + sizes_.a_index[i] * M * K;
        if (attrs_.transpose_a)  // da' (K x M) = op(B) dy'
          gemm(attrs_.transpose_b, true, K, M, N, b, dy, da, true);
        else if (plain_)
          by_rows({da, dy, b, M, K, N, !attrs_.transpose_b, true});
        else
          gemm(false, !attrs_.transpose_b, M, K, N, dy, b, da, true);
      }
      if (db_ && K > 0) {
        float* db = b_->grad + sizes_.b_index[i] * K * N;
        if (attrs_.transpose_b)  // db' (N x K) = dy' op(A)
          gemm(true, attrs_.transpose_a, N, K, M, dy, a, db, true);
        else
          gemm(!attrs_.transpose_a, false, K, N, M, a, dy, db, true);
      }
      if (dbias_)
        for (int64_t r = 0; r < M; ++r)
          for (int64_t c = 0; c < N; ++c) bias_->grad[c] += dy[r * N + c];
    }
  }
  std::string implementation() const override {
    if (!plain_) return "sgemm";
    return block_ > 0 ? "sgemm, " + std::to_string(block_) + " rows at a time" : "rows that are pictures";
  }

 private:
  // A row's result is the same in whatever company it comes.
  void by_rows(const ThinProduct& p) const {
    if (block_ == 0) return run(p);
    for (int64_t row = 0; row < p.M; row += block_)
      gemm(false, p.turned, block_, p.N, p.K, p.a + row * p.K, p.b, p.c + row * p.N, p.accumulate);
  }

  MatMulAttrs attrs_;
  MatMulSizes sizes_;
  Activation activation_;
  Slot *a_ = nullptr, *b_ = nullptr, *bias_ = nullptr, *y_ = nullptr;
  GradTarget da_, db_, dbias_;
  bool plain_ = false;  // a matrix whose rows belong to pictures; otherwise it goes matrix by matrix
  int64_t block_ = 0;
};

// All rows of A times one frozen matrix.
class FrozenMatMulStep : public Step {
 public:
  FrozenMatMulStep(Lowering& l, int64_t rows)
      : forward_(rows, l.output_shape().back(), l.input_shape(0).back()), activation_(l.activation()) {
    const int64_t N = l.output_shape().back(), K = l.input_shape(0).back();
    const bool turned = std::get<MatMulAttrs>(l.node().attrs).transpose_b;
    a_ = l.input_plain(0);
    b_ = weights(l, K, N, turned);
    reads = {a_, b_};
    if (l.has_input(2)) {
      bias_ = l.input_plain(2);
      reads.push_back(bias_);
    }
    y_ = l.output_plain();
    writes = {y_};
    forward_scratch_ = add_scratch(forward_.scratch_bytes(), Scratch::When::kForward);
    if (l.wants(0)) {
      backward_ = std::make_unique<Gemm>(rows, K, N);
      b_backward_ = weights(l, N, K, !turned);
      reads.push_back(b_backward_);
      backward_scratch_ = add_scratch(backward_->scratch_bytes(), Scratch::When::kBackward);
      if (activation_.present) backward_reads = {y_};
      da_.slot = a_;
      grads = {&da_};
    }
  }
  void forward() override {
    GemmArguments g;
    g.c = y_->f32(), g.a = a_->f32(), g.b = b_->f32(), g.bias = bias_ ? bias_->f32() : nullptr;
    g.scratch = forward_scratch_->data;
    forward_.run(g);
    if (activation_.present) activation_forward(y_->f32(), activation_, static_cast<int64_t>(y_->floats()));
  }
  void backward() override {
    if (activation_.present) activation_backward(y_->grad, y_->f32(), activation_, static_cast<int64_t>(y_->floats()));
    GemmArguments g;
    g.c = a_->grad, g.a = y_->grad, g.b = b_backward_->f32(), g.accumulate = da_.accumulate;
    g.scratch = backward_scratch_->data;
    backward_->run(g);
  }
  std::string implementation() const override { return "gemm"; }

 private:
  // The matrix that is K x N after turning.
  static Slot* weights(Lowering& l, int64_t K, int64_t N, bool turned) {
    return l.weights_as(1, turned ? WeightForm::kPanelsTurned : WeightForm::kPanels, Gemm::packed_floats(K, N),
                        [&](float* packed, const float* w) { Gemm::pack(packed, w, K, N, turned); });
  }

  Gemm forward_;
  std::unique_ptr<Gemm> backward_;
  Activation activation_;
  Slot *a_ = nullptr, *b_ = nullptr, *b_backward_ = nullptr, *bias_ = nullptr, *y_ = nullptr;
  Scratch *forward_scratch_ = nullptr, *backward_scratch_ = nullptr;
  GradTarget da_;
};

// Fewer rows a picture would not be worth the second copy of the weights: the heads of old networks have the most of them.
constexpr int64_t kFewestRows = 8;

bool suits_gemm(const Lowering& l, int64_t& rows) {
  const Shape &a = l.input_shape(0), &b = l.input_shape(1);
  const auto& attrs = std::get<MatMulAttrs>(l.node().attrs);
  if (b.size() != 2 || attrs.transpose_a || !l.input_is_constant(1) || l.wants(1) || l.wants(2)) return false;
  if (element_count(l.output_shape()) == 0) return false;
  rows = element_count(a) / std::max<int64_t>(a.back(), 1);
  int64_t pictures = 1;
  for (ValueId input : l.graph().inputs())
    if (const Shape& shape = l.graph().value(input).shape; !shape.empty()) pictures = std::max(pictures, shape[0]);
  return a.back() > 0 && rows >= kFewestRows * pictures;
}

}  // namespace

void build_matmul(Lowering& l) {
  if (int64_t rows = 0; suits_gemm(l, rows)) return l.add_step(std::make_unique<FrozenMatMulStep>(l, rows));
  MatMulStep::build(l);
}

}  // namespace actmatch::cpu
