// Matrix products over leading batch axes that broadcast: y[b] = A[b] B[b] + bias. One oneDNN sgemm a matrix; when only A carries a
// batch (the usual linear layer), all its rows go through one call.
#include <oneapi/dnnl/dnnl.h>

#include "engine/backend/cpu/loops.h"
#include "engine/core/error.h"

namespace actmatch::cpu {

namespace {

struct MatMulSizes {
  int64_t M, N, K;
  std::vector<int64_t> a_index, b_index;  // by output matrix: which matrix of A and of B
  bool rows_of_batch = false;             // the more pictures, the more rows
};

MatMulSizes sizes_of(const MatMulAttrs& attrs, const Shape& a, const Shape& b, const Shape& y) {
  MatMulSizes s{y[y.size() - 2], y[y.size() - 1], attrs.transpose_a ? a[a.size() - 2] : a[a.size() - 1], {}, {}};
  const Shape batch(y.begin(), y.end() - 2);
  const int64_t count = element_count(batch);
  const auto index_into = [&](const Shape& x, int64_t i) {
    int64_t index = 0, stride = 1;
    for (size_t k = 0; k < batch.size(); ++k) {  // from the last batch axis
      const int64_t extent = batch[batch.size() - 1 - k];
      const int64_t own = k + 2 < x.size() ? x[x.size() - 3 - k] : 1;
      if (own != 1) index += (i % extent) * stride;
      stride *= own;
      i /= extent;
    }
    return index;
  };
  for (int64_t i = 0; i < count; ++i) {
    s.a_index.push_back(index_into(a, i));
    s.b_index.push_back(index_into(b, i));
  }
  const bool b_single = b.size() == 2 || element_count(Shape(b.begin(), b.end() - 2)) == 1;
  const bool a_full = element_count(a) == count * s.M * s.K;
  if (b_single && a_full && !attrs.transpose_a && count > 1) {
    s.M *= count;
    s.a_index = s.b_index = {0};
  }
  s.rows_of_batch = s.a_index.size() == 1 && !attrs.transpose_a;
  return s;
}

void gemm(bool ta, bool tb, int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c, bool accumulate) {
  const int64_t lda = ta ? M : K, ldb = tb ? K : N;
  const dnnl_status_t status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', M, N, K, 1.0f, a, lda, b, ldb, accumulate ? 1.0f : 0.0f, c, N);
  ACTMATCH_CHECK(status == dnnl_success, "matrix product failed");
}

// A row of C must not depend on how many rows there are. oneDNN adds up in another order for a single row, and with B turned for 16 and
// more: a single row is therefore computed twice, in `pair` (2K + 2N floats), and many rows go a dozen at a time.
void gemm_by_rows(bool tb, int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c, bool accumulate, float* pair) {
  if (M == 1) {
    float* result = pair + 2 * K;
    for (int64_t r = 0; r < 2; ++r) {
      std::copy_n(a, K, pair + r * K);
      if (accumulate) std::copy_n(c, N, result + r * N);
    }
    gemm(false, tb, 2, N, K, pair, b, result, accumulate);
    std::copy_n(result, N, c);
    return;
  }
  for (int64_t row = 0; row < M;) {
    int64_t rows = tb ? std::min<int64_t>(12, M - row) : M;
    if (M - row - rows == 1) --rows;  // none is left alone
    gemm(false, tb, rows, N, K, a + row * K, b, c + row * N, accumulate);
    row += rows;
  }
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
    if (s.sizes_.rows_of_batch && s.sizes_.M == 1) {
      const auto bytes = static_cast<size_t>(2 * (s.sizes_.K + s.sizes_.N)) * sizeof(float);
      s.pair_ = s.add_scratch(bytes, Scratch::When::kForward);
      if (l.wants(0)) s.backward_pair_ = s.add_scratch(bytes, Scratch::When::kBackward);
    }
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
      if (sizes_.rows_of_batch)
        gemm_by_rows(attrs_.transpose_b, M, N, K, a, b, y, bias_ != nullptr, floats(pair_));
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
        else if (sizes_.rows_of_batch)
          gemm_by_rows(!attrs_.transpose_b, M, K, N, dy, b, da, true, floats(backward_pair_));
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
  std::string implementation() const override { return "sgemm"; }

 private:
  static float* floats(const Scratch* scratch) { return scratch ? reinterpret_cast<float*>(scratch->data) : nullptr; }
  MatMulAttrs attrs_;
  MatMulSizes sizes_;
  Activation activation_;
  Slot *a_ = nullptr, *b_ = nullptr, *bias_ = nullptr, *y_ = nullptr;
  Scratch *pair_ = nullptr, *backward_pair_ = nullptr;  // for a single row
  GradTarget da_, db_, dbias_;
};

}  // namespace

void build_matmul(Lowering& l) { MatMulStep::build(l); }

}  // namespace actmatch::cpu
