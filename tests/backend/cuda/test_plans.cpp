// cuDNN has a plan for every convolution of the supported networks on an H200: deterministic, in the precision asked for, within the
// workspace limit. From a description of the device (tests/data/cuda/h200.json), so no GPU is needed; nothing is executed.
// Depthwise convolutions are not asked about: kernels/depthwise.cu does them.
#ifndef ACTMATCH_HAVE_CUDNN
#include <gtest/gtest.h>

TEST(Plans, EveryConvolutionHasOne) { GTEST_SKIP() << "built without cuDNN (see what CMake said about it)"; }

#else
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <set>

#include "engine/backend/cuda/cudnn/device.h"
#include "engine/backend/cuda/cudnn/plans.h"
#include "engine/core/error.h"
#include "engine/image/file.h"

namespace actmatch::cuda {
namespace {

// One convolution of a network: its shape for one picture, and what stands around it.
struct Layer {
  ConvShape shape;
  ConvActivation after = ConvActivation::kRelu;   // on its output, together with the residual
  ConvActivation before = ConvActivation::kNone;  // on its input: a derivative that its backward pass may take along
  bool residual = false;                          // a skip connection ends here
  bool skip = false;                              // a skip connection starts at its input: another gradient arrives there

  auto operator<=>(const Layer&) const = default;
};
using Network = std::set<Layer>;  // each kind of convolution once

constexpr ConvActivation kNone = ConvActivation::kNone, kRelu = ConvActivation::kRelu, kRelu6 = ConvActivation::kClippedRelu;

ConvShape square(int64_t in, int64_t out, int64_t size, int64_t filter, int64_t stride = 1) {
  const int64_t pad = filter / 2;
  return {1, in, size, size, out, filter, filter, {stride, stride}, {pad, pad, pad, pad}};
}

// He et al. 2016, table 1 (18 layers); torchvision's resnet18.
Network resnet18() {
  Network net{{square(3, 64, 224, 7, 2), kRelu, kNone}};
  int64_t channels = 64, size = 56;
  for (int64_t width : {64, 128, 256, 512}) {
    for (int block = 0; block < 2; ++block) {
      const int64_t stride = block == 0 && width != 64 ? 2 : 1;
      if (stride != 1) net.insert({square(channels, width, size, 1, stride), kNone, kRelu});
      net.insert({square(channels, width, size, 3, stride), kRelu, kRelu, false, true});
      size /= stride;
      net.insert({square(width, width, size, 3), kRelu, kRelu, true});
      channels = width;
    }
  }
  return net;
}

// He et al. 2016, table 1 (50 layers), with the stride in the 3x3 convolution as torchvision has it ("v1.5").
Network resnet50() {
  Network net{{square(3, 64, 224, 7, 2), kRelu, kNone}};
  int64_t channels = 64, size = 56, width = 64;
  for (int blocks : {3, 4, 6, 3}) {
    for (int block = 0; block < blocks; ++block) {
      const int64_t stride = block == 0 && width != 64 ? 2 : 1;
      if (block == 0) net.insert({square(channels, 4 * width, size, 1, stride), kNone, kRelu});
      net.insert({square(channels, width, size, 1), kRelu, kRelu, false, true});
      net.insert({square(width, width, size, 3, stride), kRelu, kRelu});
      size /= stride;
      net.insert({square(width, 4 * width, size, 1), kRelu, kRelu, true});
      channels = 4 * width;
    }
    width *= 2;
  }
  return net;
}

// Simonyan and Zisserman 2015, configuration D.
Network vgg16() {
  Network net;
  int64_t channels = 3, size = 224;
  for (const std::vector<int64_t>& stage :
       std::vector<std::vector<int64_t> >{{64, 64}, {128, 128}, {256, 256, 256}, {512, 512, 512}, {512, 512, 512}}) {
    for (int64_t width : stage) {
      net.insert({square(channels, width, size, 3), kRelu, channels == 3 ? kNone : kRelu});
      channels = width;
    }
    size /= 2;
  }
  return net;
}

// Sandler et al. 2018, table 2: expansion t, channels c, repeats n, first stride s.
Network mobilenet_v2() {
  Network net{{square(3, 32, 224, 3, 2), kRelu6, kNone}};
  int64_t channels = 32, size = 112;
  constexpr int64_t kRows[][4] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                                  {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  for (const auto& [t, c, n, s] : kRows) {
    for (int64_t block = 0; block < n; ++block) {
      const int64_t stride = block == 0 ? s : 1;
      const bool residual = block > 0;
      if (t != 1) net.insert({square(channels, t * channels, size, 1), kRelu6, kNone, false, residual});
      size /= stride;
      net.insert({square(t * channels, c, size, 1), kNone, kRelu6, residual});
      channels = c;
    }
  }
  net.insert({square(320, 1280, 7, 1), kRelu6, kNone});
  return net;
}

// Iandola et al. 2016, version 1.1 of the authors' repository.
Network squeezenet11() {
  Network net;
  ConvShape stem = square(3, 64, 224, 3, 2);
  stem.pads = {0, 0, 0, 0};
  net.insert({stem, kRelu, kNone});
  int64_t channels = 64;
  const auto fire = [&](int64_t squeeze, int64_t expand, int64_t size) {
    net.insert({square(channels, squeeze, size, 1), kRelu, kRelu});
    net.insert({square(squeeze, expand, size, 1), kRelu, kRelu, false, true});  // the two expansions read the same input
    net.insert({square(squeeze, expand, size, 3), kRelu, kRelu, false, true});
    channels = 2 * expand;
  };
  for (int i = 0; i < 2; ++i) fire(16, 64, 55);
  for (int i = 0; i < 2; ++i) fire(32, 128, 27);
  for (int i = 0; i < 2; ++i) fire(48, 192, 13);
  for (int i = 0; i < 2; ++i) fire(64, 256, 13);
  net.insert({square(512, 1000, 13, 1), kRelu, kRelu});
  return net;
}

PlanKey key_of(const Layer& layer, ConvPass pass, ConvPrecision precision, int64_t batch, bool fused) {
  PlanKey key;
  key.pass = pass;
  key.precision = precision;
  key.shape = layer.shape;
  key.shape.N = batch;
  if (fused) {
    key.bias = pass == ConvPass::kForward;
    key.residual = pass == ConvPass::kForward ? layer.residual : layer.skip;
    key.activation = pass == ConvPass::kForward ? layer.after : layer.before;
    if (key.activation == ConvActivation::kClippedRelu) key.ceiling = 6.0f;
  }
  return key;
}

std::string h200_json() {
  const std::vector<std::byte> bytes = read_file(std::string(ACTMATCH_SOURCE_DIR) + "/tests/data/cuda/h200.json");
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

const DeviceDescription& h200() {
  static const DeviceDescription device = DeviceDescription::from_json(h200_json());
  return device;
}

bool a_driver_is_there() {
  static void* const driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  return driver != nullptr;
}

// Runtime-compiled engines cannot be built without a working driver; whether they are listed depends on one being there at all.
PlanLimits limits() {
  PlanLimits limits;
  limits.build_runtime_compiled = false;
  return limits;
}

bool has_note(const PlanCandidate& plan, const std::string& note) {
  return std::find(plan.numerical_notes.begin(), plan.numerical_notes.end(), note) != plan.numerical_notes.end();
}

void expect_error(ErrorCode code, const std::vector<std::string>& parts, const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "no error where one about '" << parts.front() << "' belongs";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.code(), code) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << "no '" << part << "' in: " << message;
  }
}

struct NamedNetwork {
  const char* name;
  Network (*make)();
  size_t kinds;  // how many different convolutions the network has, counted by hand: a list that lost some must not pass
};
void PrintTo(const NamedNetwork& network, std::ostream* out) { *out << network.name; }

class Plans : public ::testing::TestWithParam<NamedNetwork> {};

// Forward with everything fused and backward data on its own, precompiled, for one picture and for 64, in all three precisions. For a
// clipped ReLU cuDNN has few engines, but it has.
TEST_P(Plans, EveryConvolutionHasOne) {
  const Network network = GetParam().make();
  EXPECT_EQ(network.size(), GetParam().kinds);
  for (ConvPrecision precision : {ConvPrecision::kF32, ConvPrecision::kTf32, ConvPrecision::kBf16}) {
    for (int64_t batch : {1, 64}) {
      for (ConvPass pass : {ConvPass::kForward, ConvPass::kBackwardData}) {
        size_t fewest = SIZE_MAX, largest_need = 0;
        for (const Layer& layer : network) {
          const PlanKey key = key_of(layer, pass, precision, batch, pass == ConvPass::kForward);
          const PlanList list = list_plans(key, h200(), limits());
          std::vector<PlanCandidate> built;  // not only named
          for (const PlanCandidate& plan : list.plans)
            if (!plan.runtime_compiled) built.push_back(plan);
          EXPECT_FALSE(built.empty()) << list.summary();
          if (built.empty()) continue;
          fewest = std::min(fewest, built.size());
          size_t least = SIZE_MAX;
          for (const PlanCandidate& plan : built) {
            least = std::min(least, plan.workspace_bytes);
            EXPECT_LE(plan.workspace_bytes, limits().workspace_bytes);
            EXPECT_FALSE(has_note(plan, "nondeterministic")) << describe(plan.choice) << " for " << describe(key);
            if (precision == ConvPrecision::kF32)
              EXPECT_FALSE(plan.tensor_cores || has_note(plan, "tensor core")) << describe(plan.choice) << " for " << describe(key);
          }
          largest_need = std::max(largest_need, least);
        }
        const char* names[] = {"fp32", "tf32", "bf16"};
        std::printf("  %-13s %s B=%-2d %-13s %zu kinds of convolution, at least %zu plans each, %.1f MB of workspace suffice\n",
                    GetParam().name, names[static_cast<int>(precision)], static_cast<int>(batch),
                    pass == ConvPass::kForward ? "forward" : "backward data", network.size(), fewest,
                    static_cast<double>(largest_need) / 1e6);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, Plans,
                         ::testing::Values(NamedNetwork{"resnet18", resnet18, 11}, NamedNetwork{"resnet50", resnet50, 23},
                                           NamedNetwork{"vgg16", vgg16, 9}, NamedNetwork{"mobilenet_v2", mobilenet_v2, 31},
                                           NamedNetwork{"squeezenet11", squeezenet11, 25}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace actmatch::cuda
#endif
