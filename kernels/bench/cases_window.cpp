// Pooling and resizing: pool.cu, resize.cu, upsample.cu. Channels last, and the masks' grids as planes.
#include <algorithm>

#include "kernels/bench/case.h"
#include "kernels/cuda.h"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::bench {

namespace {

using cuda::PoolShape;

template <class T>
void add_pools(Cases& cases, int64_t B) {
  struct Layer {
    const char* name;
    int64_t channels, side, out, kernel, stride, pad;
    bool average;
  };
  for (const Layer& l : {Layer{"resnet ", 64, 112, 56, 3, 2, 1, false}, Layer{"squeezenet ", 64, 111, 55, 3, 2, 0, false},
                         Layer{"unet ", 32, 224, 112, 2, 2, 0, false}, Layer{"densenet ", 128, 56, 28, 2, 2, 0, true},
                         Layer{"global ", 2048, 7, 1, 7, 1, 0, true}}) {
    PoolShape shape;
    shape.N = B;
    shape.C = cases.size(l.channels);
    const bool global = l.out == 1;
    shape.H = shape.W = global ? l.side : std::max<int64_t>(cases.size(l.side), l.kernel);
    shape.kernel[0] = shape.kernel[1] = l.kernel;
    shape.strides[0] = shape.strides[1] = l.stride;
    for (int64_t& pad : shape.pads) pad = l.pad;
    shape.out_h = shape.out_w = (shape.H + 2 * l.pad - l.kernel) / l.stride + 1;
    const int64_t x = B * shape.H * shape.W * shape.C, y = B * shape.out_h * shape.out_w * shape.C;
    const std::string size = text(l.name, kTypeName<T>, " B", B, " ", shape.C, "x", shape.H, "x", shape.W, " window ", l.kernel);
    if (l.average) {
      cases.add("average_pool", size, [=](Memory& m) {
        T* out = m.output<T>(y);
        const T* in = m.input<T>(x);
        return [=](cudaStream_t s) { return cuda::average_pool<T>(s, out, in, shape, false); };
      });
      cases.add("average_pool_backward", size, [=](Memory& m) {
        T* dx = m.output<T>(x);
        const T* dy = m.input<T>(y);
        return [=](cudaStream_t s) { return cuda::average_pool_backward<T>(s, dx, dy, shape, false, false); };
      });
    } else {
      const auto winners = static_cast<int64_t>(cuda::max_pool_winner_bytes(shape));
      const int64_t taps = l.kernel * l.kernel;
      cases.add("max_pool", size, [=](Memory& m) {
        T* out = m.output<T>(y);
        auto* winner = m.output<uint8_t>(winners);
        const T* in = m.input<T>(x);
        return [=](cudaStream_t s) { return cuda::max_pool<T>(s, out, winner, in, shape); };
      });
      cases.add("max_pool_backward", size, [=](Memory& m) {
        T* dx = m.output<T>(x);
        const T* dy = m.input<T>(y);
        const auto* winner = m.indices<uint8_t>(winners, 0, taps);
        return [=](cudaStream_t s) { return cuda::max_pool_backward<T>(s, dx, dy, winner, shape, false); };
      });
    }
  }
}

template <class T>
void add_resizes(Cases& cases, int64_t B) {
  const int64_t C = cases.size(256), h = cases.size(28), H = 2 * h;
  struct Mode {
    cuda::ResizeOp op;
    const char* name;
  };
  for (const Mode& mode : {Mode{cuda::ResizeOp::kNearest, "nearest "}, Mode{cuda::ResizeOp::kLinear, "bilinear "}}) {
    const auto op = mode.op;
    const std::string size = text(mode.name, kTypeName<T>, " B", B, " ", C, "x", h, "x", h, " to ", H, "x", H);
    cases.add("resize", size, [=](Memory& m) {
      T* y = m.output<T>(B * H * H * C);
      const T* x = m.input<T>(B * h * h * C);
      return [=](cudaStream_t s) { return cuda::resize<T>(s, y, x, op, B, h, h, H, H, C); };
    });
    cases.add("resize_backward", size, [=](Memory& m) {
      T* dx = m.output<T>(B * h * h * C);
      const T* dy = m.input<T>(B * H * H * C);
      return [=](cudaStream_t s) { return cuda::resize_backward<T>(s, dx, dy, op, B, h, h, H, H, C, false); };
    });
  }
}

// The grid generator's logits, one plane a picture.
void add_planes(Cases& cases, int64_t B) {
  const int64_t H = cases.size(224), h = (H + 7) / 8;
  const std::string size = text("B", B, " ", h, "x", h, " to ", H, "x", H);
  using Forward = cudaError_t(cudaStream_t, float*, const float*, int64_t, int64_t, int64_t, int64_t, int64_t);
  using Backward = cudaError_t(cudaStream_t, float*, const float*, int64_t, int64_t, int64_t, int64_t, int64_t, bool);
  const auto add = [&](const std::string& name, Forward* forward, Backward* backward) {
    cases.add(name, size, [=](Memory& m) {
      float* y = m.output<float>(B * H * H);
      const float* x = m.input<float>(B * h * h);
      return [=](cudaStream_t s) { return forward(s, y, x, B, h, h, H, H); };
    });
    cases.add(name + "_backward", size, [=](Memory& m) {
      float* dx = m.output<float>(B * h * h);
      const float* dy = m.input<float>(B * H * H);
      return [=](cudaStream_t s) { return backward(s, dx, dy, B, h, h, H, H, false); };
    });
  };
  add("resize_bilinear", cuda::resize_bilinear, cuda::resize_bilinear_backward);
  add("resize_nearest", cuda::resize_nearest, cuda::resize_nearest_backward);
}

}  // namespace

void add_window_cases(Cases& cases) {
  for (int64_t B : cases.size.batches) {
    add_pools<float>(cases, B);
    add_pools<bfloat16>(cases, B);
    add_resizes<float>(cases, B);
    add_resizes<bfloat16>(cases, B);
    add_planes(cases, B);
  }
}

}  // namespace actmatch::kernels::bench
