// cuDNN has a plan for every convolution of the supported networks on an H200: deterministic, in the precision asked for, within the
// workspace limit. From a description of the device (tests/data/cuda/h200.json), so no GPU is needed; nothing is executed. That file is not
// read from a device: it holds the published facts, and its two clocks are guesses.
// Depthwise convolutions are not asked about: kernels/depthwise.cu does them.
#ifndef ACTMATCH_HAVE_CUDNN
#include <gtest/gtest.h>

TEST(Plans, EveryConvolutionHasOne) { GTEST_SKIP() << "built without cuDNN (see what CMake said about it)"; }

#else
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "engine/backend/cuda/cudnn/device.h"
#include "engine/backend/cuda/cudnn/plan.h"
#include "engine/backend/cuda/cudnn/plans.h"
#include "engine/image/file.h"
#include "tests/support/expect_error.h"

namespace actmatch::cuda {
namespace {

using test::expect_error;

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

struct NamedNetwork {
  const char* name;
  Network (*make)();
  size_t kinds;  // how many different convolutions the network has, counted by hand: a list that lost some must not pass
};
void PrintTo(const NamedNetwork& network, std::ostream* out) { *out << network.name; }

class Plans : public ::testing::TestWithParam<NamedNetwork> {};

size_t least_workspace(const std::vector<PlanCandidate>& plans) {
  size_t least = SIZE_MAX;
  for (const PlanCandidate& plan : plans) least = std::min(least, plan.workspace_bytes);
  return least;
}

// The plans that were built, not only named; each keeps what it promises.
std::vector<PlanCandidate> precompiled_plans(const PlanKey& key) {
  const PlanList list = list_plans(key, h200(), limits());
  std::vector<PlanCandidate> built;
  std::set<EngineChoice> choices;
  bool tensor_cores = false;
  for (const PlanCandidate& plan : list.plans) {
    EXPECT_TRUE(choices.insert(plan.choice).second) << "twice: " << describe(plan.choice) << " for " << describe(key);
    EXPECT_LE(plan.workspace_bytes, limits().workspace_bytes) << describe(plan.choice) << " for " << describe(key);
    EXPECT_FALSE(has_note(plan, "nondeterministic")) << describe(plan.choice) << " for " << describe(key);
    EXPECT_EQ(plan.tensor_cores, has_note(plan, "tensor core"));
    if (plan.runtime_compiled) continue;
    tensor_cores |= plan.tensor_cores;
    built.push_back(plan);
  }
  EXPECT_FALSE(built.empty()) << list.summary();
  // The fast modes have fast plans; except with a clipped ReLU, for which cuDNN has one precompiled engine, without tensor cores.
  const bool fast = key.precision != ConvPrecision::kF32, clipped = key.activation == ConvActivation::kClippedRelu;
  EXPECT_TRUE(clipped || tensor_cores == fast) << list.summary();
  return built;
}

// Forward with everything fused, and backward data on its own, for one picture and for 64, in all precisions: 1300 questions in all,
// about 15 s. Where the activation is a clipped ReLU, also with a plain one, so that the clip can be left to the next kernel.
TEST_P(Plans, EveryConvolutionHasOne) {
  const Network network = GetParam().make();
  EXPECT_EQ(network.size(), GetParam().kinds);
  const char* names[] = {"fp32", "tf32", "bf16"};
  for (ConvPrecision precision : {ConvPrecision::kF32, ConvPrecision::kTf32, ConvPrecision::kBf16}) {
    for (int64_t batch : {1, 64}) {
      for (ConvPass pass : {ConvPass::kForward, ConvPass::kBackwardData}) {
        size_t fewest = SIZE_MAX, need = 0;
        for (const Layer& layer : network) {
          PlanKey key = key_of(layer, pass, precision, batch, pass == ConvPass::kForward);
          if (key.activation == ConvActivation::kClippedRelu) {
            precompiled_plans(key);
            key.activation = ConvActivation::kRelu;
            key.ceiling = 0;
          }
          const std::vector<PlanCandidate> plans = precompiled_plans(key);
          fewest = std::min(fewest, plans.size());
          if (!plans.empty()) need = std::max(need, least_workspace(plans));
        }
        std::printf("  %-13s %s B=%-2d %-13s: %zu kinds of convolution, at least %zu plans each, %zu bytes of workspace suffice\n",
                    GetParam().name, names[static_cast<int>(precision)], static_cast<int>(batch),
                    pass == ConvPass::kForward ? "forward" : "backward data", network.size(), fewest, need);
      }
    }
  }
}

// Backward data with the skip connection's gradient and the derivative of the activation before. Only runtime-compiled engines fuse these,
// and asking takes a sixth of a second or more each, so this is a sample: every third convolution, in bf16, 64 pictures. They are named,
// not built: that would need a driver.
TEST_P(Plans, FusedBackwardDataIsOffered) {
  if (!a_driver_is_there()) GTEST_SKIP() << "no libcuda.so.1, which cuDNN wants to see before it offers engines that it compiles itself";
  int asked = 0, number = 0;
  for (const Layer& layer : GetParam().make()) {
    const PlanKey key = key_of(layer, ConvPass::kBackwardData, ConvPrecision::kBf16, 64, true);
    if (key.activation == kNone && !key.residual) continue;
    if (number++ % 3 != 0) continue;
    const PlanList list = list_plans(key, h200(), limits());
    EXPECT_FALSE(list.plans.empty()) << list.summary();
    for (const PlanCandidate& plan : list.plans) EXPECT_TRUE(plan.runtime_compiled && plan.tensor_cores) << describe(plan.choice);
    ++asked;
  }
  EXPECT_GE(asked, 3);
}

INSTANTIATE_TEST_SUITE_P(Networks, Plans,
                         ::testing::Values(NamedNetwork{"resnet18", resnet18, 15}, NamedNetwork{"resnet50", resnet50, 24},
                                           NamedNetwork{"vgg16", vgg16, 9}, NamedNetwork{"mobilenet_v2", mobilenet_v2, 25},
                                           NamedNetwork{"squeezenet11", squeezenet11, 18}),
                         [](const auto& test) { return std::string(test.param.name); });

// The 3x3 convolution in the middle of a ResNet.
PlanKey usual_key() { return key_of({square(64, 64, 56, 3)}, ConvPass::kForward, ConvPrecision::kBf16, 8, true); }

// What the plan cache stores is enough to build the same plan again.
TEST(PlanChoice, BuildsTheSamePlanAgain) {
  for (ConvPass pass : {ConvPass::kForward, ConvPass::kBackwardData, ConvPass::kBackwardFilter}) {
    const PlanKey key = key_of({square(64, 128, 28, 3)}, pass, ConvPrecision::kBf16, 8, pass == ConvPass::kForward);
    const std::vector<PlanCandidate> candidates = precompiled_plans(key);
    std::set<size_t> workspaces;
    for (const PlanCandidate& candidate : candidates) {
      const Plan plan(key, candidate.choice, h200());
      EXPECT_EQ(plan.workspace_bytes(), candidate.workspace_bytes) << describe(candidate.choice) << " for " << describe(key);
      workspaces.insert(candidate.workspace_bytes);
    }
    EXPECT_GT(workspaces.size(), 1u) << "all plans want the same workspace, so this test says nothing";
  }
}

TEST(PlanChoice, RefusesAnEngineThatIsNot) {
  expect_error(ErrorCode::kUnsupported, {"forward bf16 x 8x56x56x64", "engine 9999 {}", "CUDNN_STATUS_", "plan.cpp:"}, [] {
    Plan(usual_key(), EngineChoice{9999, {}}, h200());
  });
  EngineChoice choice = precompiled_plans(usual_key()).front().choice;
  choice.knobs[43] = 12345;
  expect_error(ErrorCode::kUnsupported, {"43=12345", "CUDNN_STATUS_"}, [&] { Plan(usual_key(), choice, h200()); });
}

TEST(PlanList, KeepsToTheWorkspaceLimit) {
  const PlanKey key = key_of({square(3, 64, 224, 7, 2)}, ConvPass::kBackwardData, ConvPrecision::kBf16, 64, false);
  const PlanList all = list_plans(key, h200(), limits());
  PlanLimits none = limits();
  none.workspace_bytes = 0;
  const PlanList small = list_plans(key, h200(), none);
  EXPECT_LT(small.plans.size(), all.plans.size());
  EXPECT_EQ(small.candidates, all.candidates);
  EXPECT_EQ(small.plans.size() + static_cast<size_t>(small.too_much_workspace),
            all.plans.size() + static_cast<size_t>(all.too_much_workspace));
  for (const PlanCandidate& plan : small.plans) EXPECT_EQ(plan.workspace_bytes, 0u);
}

// Some engines add up in whatever order threads arrive: they are named by cuDNN, counted, and not among the plans.
TEST(PlanList, LeavesOutWhatIsNotDeterministic) {
  PlanKey key = usual_key();
  key = key_of({key.shape}, ConvPass::kBackwardData, ConvPrecision::kBf16, 8, false);
  const PlanList list = list_plans(key, h200(), limits());
  EXPECT_GT(list.nondeterministic, 0);
  EXPECT_EQ(list.candidates,
            static_cast<int>(list.plans.size()) + list.nondeterministic + list.wrong_precision + list.too_much_workspace + list.refused);
}

TEST(PlanErrors, AnImpossibleShapeIsNamedWithTheStatus) {
  PlanKey key = usual_key();
  key.shape.H = key.shape.W = 2;
  key.shape.R = key.shape.S = 7;
  key.shape.pads = {0, 0, 0, 0};
  expect_error(ErrorCode::kInvalidArgument, {"forward bf16 x 8x2x2x64 w 64x7x7x64", "CUDNN_STATUS_BAD_PARAM", "conv_graph.cpp:"},
               [&] { list_plans(key, h200(), limits()); });
  key = usual_key();
  key.shape.groups = 5;
  expect_error(ErrorCode::kInvalidArgument, {"groups 5", "CUDNN_STATUS_BAD_PARAM"}, [&] { list_plans(key, h200(), limits()); });
  key = usual_key();
  key.shape.K = 0;
  expect_error(ErrorCode::kInvalidArgument, {"w 0x3x3x64", "CUDNN_STATUS_BAD_PARAM"}, [&] { list_plans(key, h200(), limits()); });
}

// A shape that exists but that nothing serves: no exception from list_plans, one with the numbers from require_any.
TEST(PlanErrors, AShapeWithoutPlansSaysWhy) {
  const PlanKey key = key_of({square(64, 64, 56, 3), kRelu, kRelu6}, ConvPass::kBackwardData, ConvPrecision::kBf16, 8, true);
  PlanKey grouped = key;
  grouped.shape.groups = 16;
  const PlanList list = list_plans(grouped, h200(), limits());
  EXPECT_TRUE(list.plans.empty()) << list.summary();
  expect_error(ErrorCode::kUnsupported, {"0 plans", "backward-data bf16 x 8x56x56x64", "groups 16 + relu up to 6", "name no engine"},
               [&] { list.require_any(); });
}

TEST(Device, ReadsItsDescription) {
  EXPECT_EQ(h200().name(), "NVIDIA H200");
  EXPECT_EQ(h200().compute_capability(), 90);
  EXPECT_EQ(DeviceDescription::from_json(h200().to_json()).to_json(), h200().to_json());
  EXPECT_GE(cudnn_version(), 90800);
}

TEST(Device, RefusesDamagedDescriptions) {
  for (const std::string& text : {std::string(), std::string("{}"), std::string("[1, 2"), h200_json().substr(0, 200)}) {
    SCOPED_TRACE(text);
    expect_error(ErrorCode::kFormat, {"does not take this description", "CUDNN_STATUS_", "device.cpp:"},
                 [&] { DeviceDescription::from_json(text); });
  }
}

TEST(Device, OneThatIsNotThereIsNamed) {
  expect_error(ErrorCode::kUnsupported, {"CUDA device 77", "CUDNN_STATUS_"}, [] { DeviceDescription::of_device(77); });
}

}  // namespace
}  // namespace actmatch::cuda
#endif
