// Depthwise 3x3 convolutions of MobileNetV2 (depthwise.h): ReLU6 in both directions.
#include "kernels/bench/case.h"
#include "kernels/cuda.h"

namespace actmatch::kernels::bench {

namespace {

template <class T>
void add_layer(Cases& cases, int64_t B, int64_t channels, int64_t side, int64_t stride) {
  DepthwiseShape shape;
  shape.N = B;
  shape.H = shape.W = cases.size(side);
  shape.C = cases.size(channels);
  shape.stride = stride;
  shape.outH = shape.outW = (shape.H + stride - 1) / stride;
  const int64_t x = B * shape.H * shape.W * shape.C, y = B * shape.outH * shape.outW * shape.C;
  const std::string size = text(kTypeName<T>, " B", B, " ", shape.C, "x", shape.H, "x", shape.W, stride == 2 ? " stride 2" : "");
  const double operations = 18.0 * static_cast<double>(y);
  cases.add(
      "depthwise", size,
      [=](Memory& m) {
        T* out = m.output<T>(y);
        const T *in = m.input<T>(x), *filter = m.input<T>(9 * shape.C);
        const float* bias = m.input<float>(shape.C);
        return [=](cudaStream_t s) { return cuda::depthwise<T>(s, out, in, filter, bias, shape, kRelu6Clip); };
      },
      operations, Unit::kFp32);
  cases.add(
      "depthwise_backward", size,
      [=](Memory& m) {
        T* dx = m.output<T>(x);
        const T *dy = m.input<T>(y), *out = m.input<T>(y, 0, 6), *filter = m.input<T>(9 * shape.C);
        return [=](cudaStream_t s) { return cuda::depthwise_backward<T>(s, dx, dy, out, filter, shape, kRelu6Clip, false); };
      },
      operations, Unit::kFp32);
}

}  // namespace

void add_depthwise_cases(Cases& cases) {
  struct Layer {
    int64_t channels, side, stride;
  };
  for (const Layer& l : {Layer{32, 112, 1}, Layer{96, 112, 2}, Layer{144, 56, 1}, Layer{384, 14, 1}, Layer{960, 7, 1}}) {
    for (int64_t B : cases.size.batches) {
      add_layer<float>(cases, B, l.channels, l.side, l.stride);
      add_layer<bfloat16>(cases, B, l.channels, l.side, l.stride);
    }
  }
}

}  // namespace actmatch::kernels::bench
