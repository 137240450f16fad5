// Functions of contiguous tensors: unary.cu, elementwise.cu. ResNet-50's largest activation, 256 x 56 x 56.
#include "kernels/bench/case.h"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::bench {

namespace {

using cuda::UnaryOp;

template <class T>
void add_type(Cases& cases, int64_t B) {
  const int64_t C = cases.size(256), side = cases.size(56), count = B * C * side * side;
  const std::string size = text(kTypeName<T>, " B", B, " ", C, "x", side, "x", side);
  const Clip relu = kReluClip;
  struct Function {
    UnaryOp op;
    const char* name;
    bool reads_y;  // the gradient: y or x
  };
  constexpr Function kFunctions[] = {{UnaryOp::kRelu, "relu ", true},
                                     {UnaryOp::kSigmoid, "sigmoid ", true},
                                     {UnaryOp::kHardSwish, "hard swish ", false},
                                     {UnaryOp::kErf, "erf ", false},
                                     {UnaryOp::kGelu, "gelu ", false}};
  for (const Function& f : kFunctions) {
    const UnaryOp op = f.op;
    const bool reads_y = f.reads_y;
    cases.add("unary", f.name + size, [=](Memory& m) {
      T* y = m.output<T>(count);
      const T* x = m.input<T>(count);
      return [=](cudaStream_t s) { return cuda::unary<T>(s, y, x, op, 0, 0, count); };
    });
    cases.add("unary_backward", f.name + size, [=](Memory& m) {
      T* dx = m.output<T>(count);
      const T *dy = m.input<T>(count), *saved = m.input<T>(count);
      return [=](cudaStream_t s) {
        return cuda::unary_backward<T>(s, dx, dy, reads_y ? nullptr : saved, reads_y ? saved : nullptr, op, 0, 0, count, false);
      };
    });
  }
  cases.add("clip_inplace", size, [=](Memory& m) {
    T* y = m.updated<T>(count);
    return [=](cudaStream_t s) { return cuda::clip_inplace<T>(s, y, relu, count); };
  });
  cases.add("clip_backward", size, [=](Memory& m) {
    T* dx = m.output<T>(count);
    const T *dy = m.input<T>(count), *y = m.input<T>(count);
    return [=](cudaStream_t s) { return cuda::clip_backward<T>(s, dx, dy, y, relu, count); };
  });
  cases.add("add", size, [=](Memory& m) {
    T* out = m.output<T>(count);
    const T *a = m.input<T>(count), *b = m.input<T>(count);
    return [=](cudaStream_t s) { return cuda::add<T>(s, out, a, b, relu, count); };
  });
  cases.add("add_clip_backward", size, [=](Memory& m) {
    T* out = m.output<T>(count);
    const T *a = m.input<T>(count), *b = m.input<T>(count), *y = m.input<T>(count);
    return [=](cudaStream_t s) { return cuda::add_clip_backward<T>(s, out, a, b, y, relu, count); };
  });
  cases.add("scale", "to fp32 from " + size, [=](Memory& m) {
    float* y = m.output<float>(count);
    const T* x = m.input<T>(count);
    return [=](cudaStream_t s) { return cuda::scale(s, y, x, 0.5f, count, false); };
  });
  cases.add("scale", "to bf16 from " + size, [=](Memory& m) {
    auto* y = m.output<bfloat16>(count);
    const T* x = m.input<T>(count);
    return [=](cudaStream_t s) { return cuda::scale(s, y, x, 0.5f, count, false); };
  });
}

}  // namespace

void add_elementwise_cases(Cases& cases) {
  for (int64_t B : cases.size.batches) {
    add_type<float>(cases, B);
    add_type<bfloat16>(cases, B);
    const int64_t count = B * cases.size(1000);
    cases.add("logical_not", text("B", B, " ", cases.size(1000)), [=](Memory& m) {
      auto* y = m.output<uint8_t>(count);
      const auto* x = m.indices<uint8_t>(count, 0, 2);
      return [=](cudaStream_t s) { return cuda::logical_not(s, y, x, count); };
    });
    const int64_t picture = B * 3 * cases.size(224) * cases.size(224);
    cases.add("fill", text("bf16 B", B, " 3x", cases.size(224), "x", cases.size(224)), [=](Memory& m) {
      auto* x = m.output<bfloat16>(picture);
      return [=](cudaStream_t s) { return cuda::fill(s, x, 1.0f, picture); };
    });
    cases.add("narrow", text("B", B, " CSAE"), [=](Memory& m) {
      const int64_t weights = B * cases.size(1083329);
      const cuda::Narrowing array{m.output<bfloat16>(weights), m.input<float>(weights), weights};
      return [=](cudaStream_t s) { return cuda::narrow(s, std::span(&array, 1)); };
    });
  }
}

}  // namespace actmatch::kernels::bench
