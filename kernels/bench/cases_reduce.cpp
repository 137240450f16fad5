// Reductions and softmax: reduce.cu, softmax.cu. Channels last.
#include "kernels/bench/case.h"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::bench {

namespace {

using cuda::Dims;
using cuda::ReduceOp;

template <class T>
void add_type(Cases& cases, int64_t B) {
  // Global pooling: over the positions of each image, and of each channel.
  const int64_t C = cases.size(2048), side = cases.size(7), HW = side * side, count = B * HW * C;
  const std::string size = text(kTypeName<T>, " B", B, " ", C, "x", side, "x", side);
  const Dims extents{B, HW, C}, x_strides = cuda::contiguous_strides(extents), y_strides{C, 0, 1};
  struct Function {
    ReduceOp op;
    const char* name;
  };
  for (const Function& f : {Function{ReduceOp::kMean, "mean of positions "}, Function{ReduceOp::kMax, "largest position "}}) {
    const ReduceOp op = f.op;
    cases.add("reduce", f.name + size, [=](Memory& m) {
      T* y = m.output<T>(B * C);
      const T* x = m.input<T>(count);
      void* scratch = m.scratch(cuda::reduce_scratch_bytes(extents, y_strides));
      return [=](cudaStream_t s) { return cuda::reduce<T, T>(s, y, x, op, extents, y_strides, x_strides, false, scratch); };
    });
    cases.add("reduce_backward", f.name + size, [=](Memory& m) {
      T* dx = m.output<T>(count);
      const T *dy = m.input<T>(B * C), *x = op == ReduceOp::kMax ? m.input<T>(count) : nullptr;
      const T* y = op == ReduceOp::kMax ? m.input<T>(B * C) : nullptr;
      void* scratch = m.scratch(cuda::reduce_backward_scratch_bytes(op, extents, y_strides));
      return [=](cudaStream_t s) { return cuda::reduce_backward<T>(s, dx, dy, x, y, op, extents, x_strides, y_strides, false, scratch); };
    });
  }
  // Layer normalisation's mean over the channels of tokens.
  const int64_t tokens = B * cases.size(197), D = cases.size(768);
  cases.add("reduce", text("mean of channels ", kTypeName<T>, " B", B, " ", cases.size(197), " tokens x ", D), [=](Memory& m) {
    T* y = m.output<T>(tokens);
    const T* x = m.input<T>(tokens * D);
    const Dims both{tokens, D}, rows{1, 0}, dense{D, 1};
    void* scratch = m.scratch(cuda::reduce_scratch_bytes(both, rows));
    return [=](cudaStream_t s) { return cuda::reduce<T, T>(s, y, x, ReduceOp::kMean, both, rows, dense, false, scratch); };
  });
  const int64_t M = B * cases.size(112) * cases.size(112), N = cases.size(32);
  cases.add("bias_gradient", text("to fp32 from ", kTypeName<T>, " ", M, "x", N), [=](Memory& m) {
    float* db = m.output<float>(N);
    const T* dy = m.input<T>(M * N);
    void* scratch = m.scratch(cuda::reduce_scratch_bytes(N, M));
    return [=](cudaStream_t s) { return cuda::bias_gradient(s, db, dy, M, N, false, scratch); };
  });
  struct Softmax {
    const char* name;
    bool log;
    int64_t outer, extent;
  };
  for (const Softmax& p : {Softmax{"classes ", false, B, cases.size(1000)}, Softmax{"classes, logarithm ", true, B, cases.size(1000)},
                           Softmax{"attention ", false, B * 12 * cases.size(197), cases.size(197)}}) {
    const int64_t outer = p.outer, extent = p.extent;
    const bool log = p.log;
    const std::string softmax_size = text(p.name, kTypeName<T>, " B", B, " ", outer, "x", extent);
    cases.add("softmax", softmax_size, [=](Memory& m) {
      T* y = m.output<T>(outer * extent);
      const T* x = m.input<T>(outer * extent);
      return [=](cudaStream_t s) { return cuda::softmax<T>(s, y, x, log, outer, extent, 1); };
    });
    cases.add("softmax_backward", softmax_size, [=](Memory& m) {
      T* dx = m.output<T>(outer * extent);
      const T *dy = m.input<T>(outer * extent), *y = m.input<T>(outer * extent, log ? -8 : 0, log ? 0 : 1);
      return [=](cudaStream_t s) { return cuda::softmax_backward<T>(s, dx, dy, y, log, outer, extent, 1, false); };
    });
  }
}

}  // namespace

void add_reduce_cases(Cases& cases) {
  for (int64_t B : cases.size.batches) {
    add_type<float>(cases, B);
    add_type<bfloat16>(cases, B);
  }
}

}  // namespace actmatch::kernels::bench
