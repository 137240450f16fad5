// Sums, means and extremes over any axes, by the folds of common/fold.cuh, and their gradients, which are elementwise.
#include "kernels/common/fold.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

// 1 where x is the extreme y: how many share its gradient.
template <class T>
struct Equal {
  static constexpr int kInputs = 2, kPack = pack_size<T>();
  const T *x, *y;
  template <class Self, class F>
  static ACTMATCH_HD void visit(Self& self, F f) {
    f(0, self.x);
    f(1, self.y);
  }
  __device__ __forceinline__ float value(const float (&in)[2]) const { return in[0] == in[1] ? 1.0f : 0.0f; }
};

template <class T>
struct ExtremeBackward {
  static constexpr int kTensors = 5;
  T* dx;
  const T *dy, *x, *y;
  const float* sharers;
  bool accumulate;
  template <class F>
  void pointers(F f) {
    f(0, dx);
    f(1, dy);
    f(2, x);
    f(3, y);
    f(4, sharers);
  }
  template <int V, class S>
  __device__ __forceinline__ void run(const S& spot) const {
    T d[V], u[V], v[V];
    float n[V];
    spot.load(1, dy, d);
    spot.load(2, x, u);
    spot.load(3, y, v);
    spot.load(4, sharers, n);
    spot.put(0, dx, accumulate, [&](int k) { return to_float(u[k]) == to_float(v[k]) ? to_float(d[k]) / n[k] : 0.0f; });
  }
};

struct Counts {
  int64_t kept = 1, reduced = 1;
};
Counts counts_of(const Dims& extents, const Dims& y_strides) {
  Counts n;
  for (int a = 0; a < extents.rank && a < kMaxRank; ++a) (y_strides.at[a] != 0 ? n.kept : n.reduced) *= extents.at[a];
  return n;
}

// Row-major over the kept axes, 0 on the others.
Dims kept_strides(const Dims& extents, const Dims& y_strides) {
  Dims strides = extents;
  int64_t next = 1;
  for (int a = extents.rank; a-- > 0;) {
    strides.at[a] = y_strides.at[a] != 0 ? next : 0;
    if (y_strides.at[a] != 0) next *= extents.at[a];
  }
  return strides;
}

bool is_extreme(ReduceOp op) { return op == ReduceOp::kMax || op == ReduceOp::kMin; }

}  // namespace

size_t reduce_scratch_bytes(int64_t kept, int64_t reduced) {
  if (kept <= 0 || reduced <= kColumnSlice) return 0;
  return static_cast<size_t>(kept * std::min(kMostSlices, ceil_div(reduced, kColumnSlice))) * sizeof(float);
}
size_t reduce_scratch_bytes(const Dims& extents, const Dims& y_strides) {
  const Counts n = counts_of(extents, y_strides);
  return reduce_scratch_bytes(n.kept, n.reduced);
}

template <class To, class From>
cudaError_t reduce(cudaStream_t stream, To* y, const From* x, ReduceOp op, const Dims& extents, const Dims& y_strides,
                   const Dims& x_strides, bool accumulate, void* scratch) {
  const Counts n = counts_of(extents, y_strides);
  if (is_extreme(op) && accumulate) return cudaErrorInvalidValue;
  if (op != ReduceOp::kSum && n.reduced == 0 && n.kept > 0) return cudaErrorInvalidValue;
  if (is_extreme(op)) {
    const float sign = op == ReduceOp::kMax ? 1.0f : -1.0f;
    return fold<To, Largest>(stream, y, Linear<From>{x, sign}, extents, {&y_strides, &x_strides}, sign, false, scratch);
  }
  const float factor = op == ReduceOp::kMean ? static_cast<float>(1.0 / static_cast<double>(n.reduced)) : 1.0f;
  return fold<To, Sum>(stream, y, Linear<From>{x, 1.0f}, extents, {&y_strides, &x_strides}, factor, accumulate, scratch);
}

template <class To, class From>
cudaError_t bias_gradient(cudaStream_t stream, To* db, const From* dy, int64_t M, int64_t N, bool accumulate, void* scratch) {
  return reduce(stream, db, dy, ReduceOp::kSum, Dims{M, N}, Dims{0, 1}, Dims{N, 1}, accumulate, scratch);
}

size_t reduce_backward_scratch_bytes(ReduceOp op, const Dims& extents, const Dims& y_strides) {
  if (!is_extreme(op)) return 0;
  const Counts n = counts_of(extents, y_strides);
  return static_cast<size_t>(std::max<int64_t>(n.kept, 0)) * sizeof(float) + reduce_scratch_bytes(n.kept, n.reduced);
}

template <class T>
cudaError_t reduce_backward(cudaStream_t stream, T* dx, const T* dy, const T* x, const T* y, ReduceOp op, const Dims& extents,
                            const Dims& x_strides, const Dims& y_strides, bool accumulate, void* scratch) {
  const Counts n = counts_of(extents, y_strides);
  if (!is_extreme(op)) {
    const float share = op == ReduceOp::kMean ? static_cast<float>(1.0 / static_cast<double>(n.reduced)) : 1.0f;
    return elementwise<pack_size<T>()>(stream, MapBody<T, Linear<T>>{dx, {dy, 1.0f}, share, accumulate}, extents, {&x_strides, &y_strides});
  }
  if (n.kept == 0 || n.reduced == 0) return cudaSuccess;
  if (extents.rank > kMaxRank) return cudaErrorInvalidValue;
  auto* sharers = static_cast<float*>(scratch);
  const Dims sharer_strides = kept_strides(extents, y_strides);
  const cudaError_t error =
      fold<float, Sum>(stream, sharers, Equal<T>{x, y}, extents, {&sharer_strides, &x_strides, &y_strides}, 1.0f, false, sharers + n.kept);
  if (error != cudaSuccess) return error;
  return elementwise<pack_size<T, float>()>(stream, ExtremeBackward<T>{dx, dy, x, y, sharers, accumulate}, extents,
                                            {&x_strides, &y_strides, &x_strides, &y_strides, &sharer_strides});
}

#define ACTMATCH_REDUCE(TO, FROM)                                                                                                      \
  template cudaError_t reduce<TO, FROM>(cudaStream_t, TO*, const FROM*, ReduceOp, const Dims&, const Dims&, const Dims&, bool, void*); \
  template cudaError_t bias_gradient<TO, FROM>(cudaStream_t, TO*, const FROM*, int64_t, int64_t, bool, void*);
ACTMATCH_REDUCE(float, float)
ACTMATCH_REDUCE(bfloat16, bfloat16)
ACTMATCH_REDUCE(float, bfloat16)
#undef ACTMATCH_REDUCE
template cudaError_t reduce_backward<float>(cudaStream_t, float*, const float*, const float*, const float*, ReduceOp, const Dims&,
                                            const Dims&, const Dims&, bool, void*);
template cudaError_t reduce_backward<bfloat16>(cudaStream_t, bfloat16*, const bfloat16*, const bfloat16*, const bfloat16*, ReduceOp,
                                               const Dims&, const Dims&, const Dims&, bool, void*);

}  // namespace actmatch::kernels::cuda
