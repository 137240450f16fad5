// Convolutions of our own (cuda_conv.h): the layers of the generators, each picture with weights of its own, and a few of the classifiers'
// layers with shared weights, for comparison with cuDNN's plans.
#include "kernels/bench/case.h"
#include "kernels/cuda_conv.h"

namespace actmatch::kernels::bench {

namespace {

struct Layer {
  const char* name;
  int64_t C, K, side, kernel, stride;  // of the convolution; `side` is that of x
  bool own_weights;
  bool transposed;  // the layer is the gradient to x of this convolution
};

// CSAE: 3x3 stride 2 down to 14x14, 4x4 stride 2 up again. U-Net: its first, its largest and its upsampling layers. ResNet-50, SqueezeNet.
constexpr Layer kLayers[] = {
    {"csae 3-32", 3, 32, 224, 3, 2, true, false},         {"csae 32-64", 32, 64, 112, 3, 2, true, false},
    {"csae 64-128", 64, 128, 56, 3, 2, true, false},      {"csae 128-256", 128, 256, 28, 3, 2, true, false},
    {"csae up 256-128", 128, 256, 28, 4, 2, true, true},  {"csae up 128-64", 64, 128, 56, 4, 2, true, true},
    {"csae up 64-32", 32, 64, 112, 4, 2, true, true},     {"csae up 32-1", 1, 32, 224, 4, 2, true, true},
    {"unet 32-32", 32, 32, 224, 3, 1, true, false},       {"unet 512-256", 512, 256, 28, 3, 1, true, false},
    {"unet up 64-32", 32, 64, 224, 2, 2, true, true},     {"unet head 32-1", 32, 1, 224, 1, 1, true, false},
    {"resnet stem 3-64", 3, 64, 224, 7, 2, false, false}, {"resnet 64-64", 64, 64, 56, 3, 1, false, false},
    {"resnet 256-64", 256, 64, 56, 1, 1, false, false},   {"resnet 512-512", 512, 512, 7, 3, 1, false, false},
    {"squeezenet 16-64", 16, 64, 55, 3, 1, false, false},
};

ConvShape shape_of(const Layer& layer, const Sizes& sizes, int64_t B) {
  ConvShape s;
  s.N = B;
  s.H = s.W = sizes(layer.side);
  s.C = layer.C > 3 ? sizes(layer.C) : layer.C;
  s.K = layer.K > 3 ? sizes(layer.K) : layer.K;
  s.R = s.S = layer.kernel;
  s.stride_h = s.stride_w = layer.stride;
  s.pad_top = s.pad_left = layer.kernel == 2 ? 0 : (layer.kernel - 1) / 2;
  s.P = s.Q = (s.H + layer.stride - 1) / layer.stride;
  s.instances = layer.own_weights ? B : 1;
  return s;
}

template <class T>
void add_layer(Cases& cases, const Layer& layer, int64_t B) {
  const ConvShape shape = shape_of(layer, cases.size, B);
  const int64_t x = shape.N * shape.H * shape.W * shape.C, y = shape.N * shape.P * shape.Q * shape.K;
  const int64_t w = shape.instances * shape.K * shape.R * shape.S * shape.C;
  const double operations = 2.0 * static_cast<double>(y * shape.R * shape.S * shape.C);
  const Unit unit = std::is_same_v<T, float> ? Unit::kFp32 : Unit::kTensorCores;
  const std::string size = text(layer.name, " ", kTypeName<T>, " B", B, " ", shape.H, "x", shape.W, " kernel ", shape.R, "x", shape.S,
                                layer.own_weights ? " own weights" : "");
  // A layer's result has bias and ReLU; its gradient has neither.
  const auto forward = [=](Memory& m) -> Launch {
    T* out = m.output<T>(y);
    const T *in = m.input<T>(x), *weights = m.input<T>(w);
    const float* bias = layer.transposed ? nullptr : m.input<float>(shape.instances * shape.K);
    const Clip clip = layer.transposed ? kNoClip : kReluClip;
    return [=](cudaStream_t s) { return cuda::conv_forward<T>(s, out, in, weights, bias, nullptr, shape, clip); };
  };
  const auto backward_data = [=](Memory& m) -> Launch {
    T* dx = m.output<T>(x);
    const T *dy = m.input<T>(y), *weights = m.input<T>(w);
    const float* bias = layer.transposed ? m.input<float>(shape.instances * shape.C) : nullptr;
    const Clip clip = layer.transposed ? kReluClip : kNoClip;
    return [=](cudaStream_t s) { return cuda::conv_backward_data<T>(s, dx, dy, weights, bias, nullptr, shape, clip); };
  };
  cases.add("conv_forward", size, forward, operations, unit);
  if (layer.C != 3) cases.add("conv_backward_data", size, backward_data, operations, unit);  // nobody asks for the picture's gradient
  if (!layer.own_weights) return;                                                            // the classifier is frozen
  cases.add(
      "conv_backward_filter", size,
      [=](Memory& m) -> Launch {
        float* dw = m.output<float>(w);
        const T *in = m.input<T>(x), *dy = m.input<T>(y);
        void* scratch = m.scratch(cuda::conv_backward_filter_scratch_bytes(shape));
        return [=](cudaStream_t s) { return cuda::conv_backward_filter<T>(s, dw, in, dy, shape, false, scratch); };
      },
      operations, unit);
  const int64_t positions = layer.transposed ? shape.H * shape.W : shape.P * shape.Q, channels = layer.transposed ? shape.C : shape.K;
  cases.add("conv_backward_bias", size, [=](Memory& m) -> Launch {
    float* db = m.output<float>(shape.instances * channels);
    const T* dy = m.input<T>(shape.N * positions * channels);
    void* scratch = m.scratch(cuda::conv_backward_bias_scratch_bytes(shape.N, positions, channels, shape.instances));
    return [=](cudaStream_t s) {
      return cuda::conv_backward_bias<T>(s, db, dy, shape.N, positions, channels, shape.instances, false, scratch);
    };
  });
}

}  // namespace

void add_conv_cases(Cases& cases) {
  for (const Layer& layer : kLayers) {
    for (int64_t B : cases.size.batches) {
      add_layer<float>(cases, layer, B);
      add_layer<bfloat16>(cases, layer, B);
    }
  }
}

}  // namespace actmatch::kernels::bench
