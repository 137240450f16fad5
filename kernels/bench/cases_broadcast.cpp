// Elementwise functions of two tensors, one of which may be broadcast, and their gradients: binary.cu, where.cu, scale_shift.cu.
// Channels last: a number a channel has strides {0, 1}, a number an image and channel {C, 0, 1}.
#include "kernels/bench/case.h"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::bench {

namespace {

using cuda::BinaryOp;
using cuda::Dims;
using cuda::Side;

template <class T>
void add_type(Cases& cases, int64_t B) {
  const int64_t C = cases.size(256), side = cases.size(56), HW = side * side, count = B * HW * C;
  const std::string size = text(kTypeName<T>, " B", B, " ", C, "x", side, "x", side);
  const Clip none;
  const Dims extents{B, HW, C}, whole = cuda::contiguous_strides(extents), each_channel{0, 0, 1}, each_image{C, 0, 1};
  struct Operand {
    const char* name;
    Dims strides;
    int64_t count;
  };
  const Operand operands[] = {
      {"both whole ", whole, count}, {"a number a channel ", each_channel, C}, {"a number an image and channel ", each_image, B * C}};
  for (const Operand& second : operands) {
    const Dims strides = second.strides;
    const int64_t second_count = second.count;
    cases.add("binary", "mul, " + (second.name + size), [=](Memory& m) {
      T* y = m.output<T>(count);
      const T *a = m.input<T>(count), *b = m.input<T>(second_count);
      return [=](cudaStream_t s) { return cuda::binary<T>(s, y, a, b, BinaryOp::kMul, extents, whole, whole, strides, none); };
    });
    // With respect to the second operand: a sum where it is broadcast.
    cases.add("binary_backward", "mul, " + (second.name + size), [=](Memory& m) {
      T* db = m.output<T>(second_count);
      const T *dy = m.input<T>(count), *a = m.input<T>(count);
      void* scratch = m.scratch(cuda::reduce_scratch_bytes(extents, strides));
      return [=](cudaStream_t s) {
        return cuda::binary_backward<T>(s, db, dy, a, nullptr, BinaryOp::kMul, Side::kSecond, extents, whole, whole, strides, false,
                                        scratch);
      };
    });
  }
  cases.add("compare", size, [=](Memory& m) {
    auto* y = m.output<uint8_t>(count);
    const T *a = m.input<T>(count), *b = m.input<T>(count);
    return [=](cudaStream_t s) { return cuda::compare<T>(s, y, a, b, BinaryOp::kLess, extents, whole, whole, whole); };
  });
  cases.add("where", size, [=](Memory& m) {
    T* y = m.output<T>(count);
    const auto* condition = m.indices<uint8_t>(count, 0, 2);
    const T *a = m.input<T>(count), *b = m.input<T>(count);
    return [=](cudaStream_t s) { return cuda::where<T>(s, y, condition, a, b, extents, whole, whole, whole, whole); };
  });
  cases.add("where_backward", size, [=](Memory& m) {
    T* dx = m.output<T>(count);
    const T* dy = m.input<T>(count);
    const auto* condition = m.indices<uint8_t>(count, 0, 2);
    return [=](cudaStream_t s) {
      return cuda::where_backward<T>(s, dx, dy, condition, Side::kFirst, extents, whole, whole, whole, false, nullptr);
    };
  });
  cases.add("scale_shift", size, [=](Memory& m) {
    T* y = m.output<T>(count);
    const T* x = m.input<T>(count);
    const float *scale = m.input<float>(C), *shift = m.input<float>(C);
    return [=](cudaStream_t s) { return cuda::scale_shift<T>(s, y, x, scale, shift, B * HW, C, 1, kReluClip); };
  });
  cases.add("scale_shift_backward", size, [=](Memory& m) {
    T* dx = m.output<T>(count);
    const T* dy = m.input<T>(count);
    const float* scale = m.input<float>(C);
    return [=](cudaStream_t s) { return cuda::scale_shift_backward<T>(s, dx, dy, scale, B * HW, C, 1, false); };
  });
  cases.add("scale_shift_backward_channels", size, [=](Memory& m) {
    float *dscale = m.output<float>(C), *dshift = m.output<float>(C);
    const T *dy = m.input<T>(count), *x = m.input<T>(count);
    void* scratch = m.scratch(cuda::reduce_scratch_bytes(C, B * HW));
    return [=](cudaStream_t s) { return cuda::scale_shift_backward_channels<T>(s, dscale, dshift, dy, x, B * HW, C, 1, false, scratch); };
  });
}

}  // namespace

void add_broadcast_cases(Cases& cases) {
  for (int64_t B : cases.size.batches) {
    add_type<float>(cases, B);
    add_type<bfloat16>(cases, B);
  }
}

}  // namespace actmatch::kernels::bench
