// Softmax and log-softmax along one axis, row-major. Backward: dx = y (dy - sum y dy), or dx = dy - exp(y) sum dy for the logarithm.
#include <cmath>

#include "engine/backend/cpu/loops.h"
#include "engine/backend/cpu/vector_math.h"

namespace actmatch::cpu {

namespace {

constexpr int64_t kLanes = 16;

// A line without gaps. The sums run in as many parts as there are lanes, in one order on every processor.
ACTMATCH_MULTIVERSION void softmax_line(float* y, const float* x, int64_t n, bool log) {
  float tops[kLanes], sums[kLanes] = {};
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t k = 0; k < kLanes; ++k) tops[k] = -INFINITY;
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t k = 0; k < kLanes; ++k) tops[k] = x[i + k] > tops[k] ? x[i + k] : tops[k];
  float top = -INFINITY;
  for (const float t : tops) top = std::max(top, t);
  for (int64_t i = whole; i < n; ++i) top = std::max(top, x[i]);
  for (int64_t i = 0; i < n; ++i) y[i] = vector_math::exp(x[i] - top);
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t k = 0; k < kLanes; ++k) sums[k] += y[i + k];
  float sum = 0.0f;
  for (const float s : sums) sum += s;
  for (int64_t i = whole; i < n; ++i) sum += y[i];
  const float scale = 1.0f / sum, log_sum = std::log(sum);
  if (log)
    for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - top) - log_sum;
  else
    for (int64_t i = 0; i < n; ++i) y[i] *= scale;
}

ACTMATCH_MULTIVERSION void softmax_line_backward(float* dx, const float* y, const float* dy, int64_t n, bool log, bool accumulate) {
  float sums[kLanes] = {};
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t k = 0; k < kLanes; ++k) sums[k] += log ? dy[i + k] : y[i + k] * dy[i + k];
  float sum = 0.0f;
  for (const float s : sums) sum += s;
  for (int64_t i = whole; i < n; ++i) sum += log ? dy[i] : y[i] * dy[i];
  for (int64_t i = 0; i < n; ++i) {
    const float d = log ? dy[i] - vector_math::exp(y[i]) * sum : y[i] * (dy[i] - sum);
    dx[i] = accumulate ? dx[i] + d : d;
  }
}

class SoftmaxStep : public Step {
 public:
  explicit SoftmaxStep(Lowering& l) : attrs_(std::get<SoftmaxAttrs>(l.node().attrs)), x_(l.input_plain(0)), y_(l.output_plain()) {
    const Shape& shape = x_->shape;
    const auto axis = static_cast<size_t>(attrs_.axis);
    size_ = shape[axis];
    for (size_t i = 0; i < axis; ++i) outer_ *= shape[i];
    for (size_t i = axis + 1; i < shape.size(); ++i) inner_ *= shape[i];
    reads = {x_};
    writes = {y_};
    if (l.wants(0)) {
      dx_.slot = x_;
      grads = {&dx_};
      backward_reads = {y_};
    }
  }
  void forward() override {
    each_line([&](int64_t start) {
      const float* x = x_->f32() + start;
      float* y = y_->f32() + start;
      if (inner_ == 1) return softmax_line(y, x, size_, attrs_.log);
      float top = -INFINITY;
      for (int64_t k = 0; k < size_; ++k) top = std::max(top, x[k * inner_]);
      float sum = 0.0f;
      for (int64_t k = 0; k < size_; ++k) {
        const float e = std::exp(x[k * inner_] - top);
        sum += e;
        y[k * inner_] = attrs_.log ? x[k * inner_] - top : e;
      }
      const float log_sum = std::log(sum), scale = 1.0f / sum;
      for (int64_t k = 0; k < size_; ++k) y[k * inner_] = attrs_.log ? y[k * inner_] - log_sum : y[k * inner_] * scale;
    });
  }
  void backward() override {
    each_line([&](int64_t start) {
      const float *y = y_->f32() + start, *dy = y_->grad + start;
      float* dx = x_->grad + start;
      if (inner_ == 1) return softmax_line_backward(dx, y, dy, size_, attrs_.log, dx_.accumulate);
      float sum = 0.0f;
      for (int64_t k = 0; k < size_; ++k) sum += attrs_.log ? dy[k * inner_] : y[k * inner_] * dy[k * inner_];
      for (int64_t k = 0; k < size_; ++k) {
        const float d = attrs_.log ? dy[k * inner_] - std::exp(y[k * inner_]) * sum : y[k * inner_] * (dy[k * inner_] - sum);
        dx[k * inner_] = (dx_.accumulate ? dx[k * inner_] : 0.0f) + d;
      }
    });
  }

 private:
  template <class Body>
  void each_line(const Body& body) const {
    parallel_ranges(outer_ * inner_, std::max<int64_t>(1, kGrain / std::max<int64_t>(size_, 1)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) body((i / inner_) * size_ * inner_ + i % inner_);
    });
  }
  SoftmaxAttrs attrs_;
  Slot *x_, *y_;
  int64_t outer_ = 1, size_ = 1, inner_ = 1;
  GradTarget dx_;
};

}  // namespace

void build_softmax(Lowering& l) { l.add_step(std::make_unique<SoftmaxStep>(l)); }

}  // namespace actmatch::cpu
