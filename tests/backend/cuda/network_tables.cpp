#include <ostream>
#include <stdexcept>

#include "tests/backend/cuda/networks.h"

namespace actmatch::cuda {
namespace {

using Layers = std::set<Layer>;
constexpr ConvActivation kNone = ConvActivation::kNone, kRelu = ConvActivation::kRelu, kRelu6 = ConvActivation::kClippedRelu;

ConvShape square(int64_t in, int64_t out, int64_t size, int64_t filter, int64_t stride = 1) {
  const int64_t pad = filter / 2;
  return {1, in, size, size, out, filter, filter, {stride, stride}, {pad, pad, pad, pad}};
}

// Where a shortcut has a convolution of its own, torchvision's block computes it last: the sum and the ReLU go to that one.

// Table 1, 18 layers.
Layers resnet18() {
  Layers net{{square(3, 64, 224, 7, 2), kRelu, kNone}};
  int64_t channels = 64, size = 56;
  for (int64_t width : {64, 128, 256, 512}) {
    for (int block = 0; block < 2; ++block) {
      const int64_t stride = block == 0 && width != 64 ? 2 : 1;
      const ConvActivation before = block == 0 && width == 64 ? kNone : kRelu;  // the first one reads what was pooled
      const bool shortcut = stride != 1;
      if (shortcut) net.insert({square(channels, width, size, 1, stride), kRelu, kRelu, true, true});
      net.insert({square(channels, width, size, 3, stride), kRelu, before, false, true});
      size /= stride;
      net.insert({square(width, width, size, 3), shortcut ? kNone : kRelu, kRelu, !shortcut});
      channels = width;
    }
  }
  return net;
}

// Table 1, 50 layers, with the stride in the 3x3 convolution as torchvision has it ("v1.5").
Layers resnet50() {
  Layers net{{square(3, 64, 224, 7, 2), kRelu, kNone}};
  int64_t channels = 64, size = 56, width = 64;
  for (int blocks : {3, 4, 6, 3}) {
    for (int block = 0; block < blocks; ++block) {
      const int64_t stride = block == 0 && width != 64 ? 2 : 1;
      const ConvActivation before = block == 0 && width == 64 ? kNone : kRelu;
      const bool shortcut = block == 0;
      if (shortcut) net.insert({square(channels, 4 * width, size, 1, stride), kRelu, before, true, true});
      net.insert({square(channels, width, size, 1), kRelu, before, false, true});
      net.insert({square(width, width, size, 3, stride), kRelu, kRelu});
      size /= stride;
      net.insert({square(width, 4 * width, size, 1), shortcut ? kNone : kRelu, kRelu, !shortcut});
      channels = 4 * width;
    }
    width *= 2;
  }
  return net;
}

// Section 4.2: 6n + 2 layers of 16, 32, 64 channels. Shortcuts have no parameters (option A); where they shrink the picture, they are
// computed last, so that nothing is fused to the convolution before the sum. All n have the same kinds.
Layers resnet_cifar() {
  Layers net{{square(3, 16, 32, 3), kRelu, kNone}};
  int64_t channels = 16, size = 32;
  for (int64_t width : {16, 32, 64}) {
    for (int block = 0; block < 2; ++block) {
      const bool shrinks = block == 0 && width != 16;
      net.insert({square(channels, width, size, 3, shrinks ? 2 : 1), kRelu, kRelu, false, true});
      if (shrinks) size /= 2;
      net.insert({square(width, width, size, 3), shrinks ? kNone : kRelu, kRelu, !shrinks});
      channels = width;
    }
  }
  return net;
}

// Configuration D.
Layers vgg16() {
  Layers net;
  int64_t channels = 3, size = 224;
  for (const std::vector<int64_t>& stage :
       std::vector<std::vector<int64_t>>{{64, 64}, {128, 128}, {256, 256, 256}, {512, 512, 512}, {512, 512, 512}}) {
    bool after_pool = true;
    for (int64_t width : stage) {
      net.insert({square(channels, width, size, 3), kRelu, after_pool ? kNone : kRelu});
      channels = width;
      after_pool = false;
    }
    size /= 2;
  }
  return net;
}

// Table 1; the convolutions between the depthwise ones.
Layers mobilenet_v1() {
  Layers net{{square(3, 32, 224, 3, 2), kRelu6, kNone}};
  int64_t channels = 32, size = 112;
  constexpr int64_t kRows[][2] = {{64, 1},  {128, 2}, {128, 1},  {256, 2}, {256, 1},
                                  {512, 2}, {512, 1}, {1024, 2}, {1024, 1}};  // width, stride before
  for (const auto& [width, stride] : kRows) {
    size /= stride;
    net.insert({square(channels, width, size, 1), kRelu6, kRelu6});
    channels = width;
  }
  return net;
}

// Table 2: expansion t, channels c, repeats n, first stride s.
Layers mobilenet_v2() {
  Layers net{{square(3, 32, 224, 3, 2), kRelu6, kNone}};
  int64_t channels = 32, size = 112;
  constexpr int64_t kRows[][4] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                                  {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  for (const auto& [t, c, n, s] : kRows) {
    for (int64_t block = 0; block < n; ++block) {
      const int64_t stride = block == 0 ? s : 1;
      if (t != 1) net.insert({square(channels, t * channels, size, 1), kRelu6, kNone, false, block > 0});
      size /= stride;
      net.insert({square(t * channels, c, size, 1), kNone, kRelu6, block > 0});
      channels = c;
    }
  }
  net.insert({square(320, 1280, 7, 1), kRelu6, kNone});
  return net;
}

// Version 1.1 of the authors' repository.
Layers squeezenet11() {
  Layers net;
  ConvShape stem = square(3, 64, 224, 3, 2);
  stem.pads = {0, 0, 0, 0};
  net.insert({stem, kRelu, kNone});
  int64_t channels = 64;
  const auto fire = [&](int64_t squeeze, int64_t expand, int64_t size, ConvActivation before) {
    net.insert({square(channels, squeeze, size, 1), kRelu, before});
    net.insert({square(squeeze, expand, size, 1), kRelu, kRelu, false, true});  // the two expansions read the same input
    net.insert({square(squeeze, expand, size, 3), kRelu, kRelu, false, true});
    channels = 2 * expand;
  };
  // Between two of them stands a concatenation, behind which the derivatives of the parts' ReLUs are taken.
  for (int i = 0; i < 2; ++i) fire(16, 64, 55, kNone);
  for (int i = 0; i < 2; ++i) fire(32, 128, 27, kNone);
  for (int i = 0; i < 2; ++i) fire(48, 192, 13, kNone);
  for (int i = 0; i < 2; ++i) fire(64, 256, 13, kNone);
  net.insert({square(512, 1000, 13, 1), kRelu, kNone});
  return net;
}

// Growth 32, bottlenecks of 128; batch norm and ReLU in front of each convolution.
Layers densenet121() {
  Layers net{{square(3, 64, 224, 7, 2), kRelu, kNone}};
  int64_t channels = 64, size = 56;
  for (int layers : {6, 12, 24, 16}) {
    for (int layer = 0; layer < layers; ++layer) {
      net.insert({square(channels, 128, size, 1), kRelu, kRelu});
      net.insert({square(128, 32, size, 3), kNone, kRelu, false, false, false});
      channels += 32;
    }
    if (layers == 16) break;
    net.insert({square(channels, channels / 2, size, 1), kNone, kRelu, false, false, false});
    channels /= 2;
    size /= 2;
  }
  return net;
}

}  // namespace

std::vector<Network> networks_from_tables() {
  return {
      {"resnet18", resnet18()},         {"resnet50", resnet50()},         {"resnet_cifar", resnet_cifar()}, {"vgg16", vgg16()},
      {"mobilenet_v1", mobilenet_v1()}, {"mobilenet_v2", mobilenet_v2()}, {"squeezenet11", squeezenet11()}, {"densenet121", densenet121()}};
}

Network network_from_table(const std::string& name) {
  for (Network& network : networks_from_tables())
    if (network.name == name) return network;
  throw std::invalid_argument("no table of " + name);
}

void PrintTo(const Layer& layer, std::ostream* out) {
  *out << "\n  " << describe(key_of(layer, ConvPass::kForward, ConvPrecision::kF32, 1, true)) << " | "
       << describe(key_of(layer, ConvPass::kBackwardData, ConvPrecision::kF32, 1, true)) << (layer.bias ? "" : " | no bias");
}

PlanKey key_of(const Layer& layer, ConvPass pass, ConvPrecision precision, int64_t batch, bool fused) {
  PlanKey key;
  key.pass = pass;
  key.precision = precision;
  key.shape = layer.shape;
  key.shape.N = batch;
  if (layer.transposed) {
    if (pass != ConvPass::kBackwardFilter) key.pass = pass == ConvPass::kForward ? ConvPass::kBackwardData : ConvPass::kForward;
    return key;
  }
  if (fused && pass != ConvPass::kBackwardFilter) {
    const bool forward = pass == ConvPass::kForward;
    key.bias = forward && layer.bias;
    key.residual = forward ? layer.residual : layer.skip;
    key.activation = forward ? layer.after : layer.before;
    if (key.activation == ConvActivation::kClippedRelu) key.ceiling = 6.0f;
  }
  return key;
}

}  // namespace actmatch::cuda
