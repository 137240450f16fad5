// cuDNN has a plan for every convolution of the supported networks on an H200: deterministic, in the precision asked for, within the
// workspace limit. From a description of the device (tests/data/cuda/h200.json), so no GPU is needed; nothing is executed. That file is not
// read from a device: it holds the published facts, and its two clocks are guesses.
// What kernels/depthwise.cu does is not asked about.
#ifndef ACTMATCH_HAVE_CUDNN
#include <gtest/gtest.h>

TEST(Plans, EveryConvolutionHasOne) { GTEST_SKIP() << "built without cuDNN (see what CMake said about it)"; }

#else
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "engine/backend/cuda/cublas/cublas_library.h"
#include "engine/backend/cuda/cudnn/cudnn_library.h"
#include "engine/backend/cuda/cudnn/plan.h"
#include "tests/backend/cuda/h200.h"
#include "tests/backend/cuda/networks.h"
#include "tests/support/expect_error.h"

namespace actmatch::cuda {
namespace {

using test::expect_error;

bool a_driver_is_there() {
  static void* const driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  return driver != nullptr;
}

bool has_note(const PlanCandidate& plan, const std::string& note) {
  return std::find(plan.numerical_notes.begin(), plan.numerical_notes.end(), note) != plan.numerical_notes.end();
}

// The plans that were built, not only named; each keeps what it promises.
std::vector<PlanCandidate> precompiled_plans(const PlanKey& key) {
  const PlanList list = list_plans(key, h200(), deviceless_limits());
  std::vector<PlanCandidate> built;
  std::set<EngineChoice> choices;
  bool tensor_cores = false;
  for (const PlanCandidate& plan : list.plans) {
    EXPECT_TRUE(choices.insert(plan.choice).second) << "twice: " << describe(plan.choice) << " for " << describe(key);
    EXPECT_LE(plan.workspace_bytes, deviceless_limits().workspace_bytes) << describe(plan.choice) << " for " << describe(key);
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

constexpr ConvPrecision kPrecisions[] = {ConvPrecision::kF32, ConvPrecision::kTf32, ConvPrecision::kBf16};
constexpr int64_t kBatches[] = {1, 2, 64, 128};  // one picture and many, each also as two passes in one batch

// A clipped ReLU is asked for plain as well, so that the clip can be left to the next kernel.
void expect_plans(PlanKey key) {
  precompiled_plans(key);
  if (key.activation != ConvActivation::kClippedRelu) return;
  key.activation = ConvActivation::kRelu;
  key.ceiling = 0;
  precompiled_plans(key);
}

// Forward with everything fused, and backward data on its own.
void expect_plans(const Network& network) {
  for (const Layer& layer : network.layers)
    for (ConvPrecision precision : kPrecisions)
      for (int64_t batch : kBatches) {
        expect_plans(key_of(layer, ConvPass::kForward, precision, batch, true));
        expect_plans(key_of(layer, ConvPass::kBackwardData, precision, batch, false));
      }
}

struct Table {
  const char* name;
  size_t kinds;  // how many different convolutions the network has, counted by hand: a table that lost some must not pass
};
void PrintTo(const Table& table, std::ostream* out) { *out << table.name; }

class Plans : public ::testing::TestWithParam<Table> {};

TEST_P(Plans, EveryConvolutionHasOne) {
  const Network network = network_from_table(GetParam().name);
  EXPECT_EQ(network.layers.size(), GetParam().kinds);
  expect_plans(network);
}

// Backward data with the skip connection's gradient and the derivative of the activation before. Only runtime-compiled engines fuse these,
// and asking takes a sixth of a second or more each, so this is a sample: up to eight convolutions a network, alternating in precision and
// batch. They are named, not built: that would need a driver. The table in docs/measured/plans.md asks about all.
TEST_P(Plans, FusedBackwardDataIsOffered) {
  if (!a_driver_is_there()) GTEST_SKIP() << "no libcuda.so.1, which cuDNN wants to see before it offers engines that it compiles itself";
  std::vector<Layer> layers;
  for (const Layer& layer : network_from_table(GetParam().name).layers)
    if (layer.before != ConvActivation::kNone || layer.skip) layers.push_back(layer);
  constexpr size_t kSample = 8;
  ASSERT_GE(layers.size(), 3u);
  const size_t step = (layers.size() + kSample - 1) / kSample;
  for (size_t i = 0; i < layers.size(); i += step) {
    const bool even = i / step % 2 == 0;
    const PlanKey key =
        key_of(layers[i], ConvPass::kBackwardData, even ? ConvPrecision::kBf16 : ConvPrecision::kTf32, even ? 128 : 2, true);
    const PlanList list = list_plans(key, h200(), deviceless_limits());
    EXPECT_FALSE(list.plans.empty()) << list.summary();
    EXPECT_TRUE(std::any_of(list.plans.begin(), list.plans.end(), [](const PlanCandidate& plan) { return plan.tensor_cores; }))
        << list.summary();
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, Plans,
                         ::testing::Values(Table{"resnet18", 19}, Table{"resnet50", 28}, Table{"resnet_cifar", 11}, Table{"vgg16", 10},
                                           Table{"mobilenet_v1", 10}, Table{"mobilenet_v2", 25}, Table{"squeezenet11", 18},
                                           Table{"densenet121", 66}),
                         [](const auto& test) { return std::string(test.param.name); });

// The classifiers whose files are at hand, through the importer; the one of examples/ always is.
TEST(PlansOfFiles, EveryConvolutionHasOne) {
  std::vector<Network> networks = networks_from_files();
  ASSERT_FALSE(networks.empty());
  EXPECT_EQ(networks[0].name, "shapes96");
  std::set<Layer> seen;
  for (Network& network : networks) {
    std::printf("  %s: %zu kinds of convolution, %d depthwise convolutions left out\n", network.name.c_str(), network.layers.size(),
                network.depthwise);
    EXPECT_EQ(network.layers.empty(), network.name == "vit_mnist") << "its patches are a matrix product";
    std::erase_if(network.layers, [&seen](const Layer& layer) { return !seen.insert(layer).second; });
    expect_plans(network);
  }
}

// What is read from a graph is what the tables say, where both are there: neither can be wrong alone.
TEST(PlansOfFiles, GraphsAndTablesAgree) {
  int compared = 0;
  for (const Network& network : networks_from_files()) {
    for (const auto& [file, table] : {std::pair{"squeezenet1.1_fp32", "squeezenet11"},
                                      {"resnet20_cifar10_bn", "resnet_cifar"},
                                      {"resnet56_cifar10_folded", "resnet_cifar"}}) {
      if (network.name != file) continue;
      EXPECT_EQ(network.layers, network_from_table(table).layers) << file;
      ++compared;
    }
  }
  if (compared == 0) GTEST_SKIP() << "no data folder; set ACTMATCH_DATA to compare the tables with real classifiers";
}

// Whether there is a plan that needs no compiling. What others there are is not asked, so that thousands of keys take seconds.
bool has_plan(const PlanKey& key, std::string* summary) {
  PlanLimits limits = deviceless_limits();
  limits.enough = 1;
  const PlanList list = list_plans(key, h200(), limits);
  *summary = list.summary();
  return std::any_of(list.plans.begin(), list.plans.end(), [](const PlanCandidate& plan) { return !plan.runtime_compiled; });
}

constexpr const char* kLibraries[] = {"torchvision", "timm", "keras"};

// Every kind of convolution that a classifier of these libraries has, each once, in shards that run side by side.
constexpr int kShards = 8;
class PlansOfLists : public ::testing::TestWithParam<int> {};

TEST_P(PlansOfLists, EveryConvolutionHasOne) {
  std::vector<SharedLayer> layers;
  std::set<Layer> seen;
  for (const char* library : kLibraries) {
    int depthwise = 0;
    for (SharedLayer& layer : layers_of_library(library, depthwise))
      if (seen.insert(layer.layer).second) layers.push_back(std::move(layer));
  }
  for (size_t i = static_cast<size_t>(GetParam()); i < layers.size(); i += kShards)
    for (ConvPrecision precision : kPrecisions)
      for (int64_t batch : {1, 64})
        for (ConvPass pass : {ConvPass::kForward, ConvPass::kBackwardData}) {
          PlanKey key = key_of(layers[i].layer, pass, precision, batch, pass == ConvPass::kForward);
          if (key.activation == ConvActivation::kClippedRelu) key = *less_fused(key);
          std::string summary;
          EXPECT_TRUE(has_plan(key, &summary)) << "of " << layers[i].networks.front() << ": " << summary;
        }
}

INSTANTIATE_TEST_SUITE_P(Shards, PlansOfLists, ::testing::Range(0, kShards));

TEST(Lists, HaveAllSupportedNetworks) {
  for (const std::string library : kLibraries) {
    int depthwise = 0;
    std::set<std::string> listed;
    for (const SharedLayer& layer : layers_of_library(library, depthwise)) listed.insert(layer.networks.begin(), layer.networks.end());
    const std::set<std::string> supported = supported_networks(library);
    EXPECT_GE(supported.size(), library == "torchvision" ? 20u : 9u) << "the table of models reads otherwise than expected";
    for (const std::string& network : supported)
      EXPECT_TRUE(listed.count(network)) << network << " is missing: run tests/backend/cuda/conv_tables.py " << library;
    EXPECT_GT(depthwise, 0) << library;
  }
}

// What is read from torchvision's modules is what the tables say, where both are there.
TEST(Lists, AgreeWithTheTables) {
  int depthwise = 0;
  const std::vector<SharedLayer> layers = layers_of_library("torchvision", depthwise);
  for (const auto& [network, table] : {std::pair{"resnet18", "resnet18"},
                                       {"resnet50", "resnet50"},
                                       {"vgg16", "vgg16"},
                                       {"mobilenet_v2", "mobilenet_v2"},
                                       {"squeezenet1_1", "squeezenet11"},
                                       {"densenet121", "densenet121"}}) {
    std::set<Layer> listed, known;
    for (const SharedLayer& shared : layers)
      if (std::count(shared.networks.begin(), shared.networks.end(), network) > 0) listed.insert(shared.layer);
    for (Layer layer : network_from_table(table).layers) {
      layer.before = ConvActivation::kNone;  // the list knows the forward pass only
      layer.skip = false;
      known.insert(layer);
    }
    EXPECT_EQ(listed, known) << network;
  }
}

// The generators with the gradients of their weights: for one picture, and as one net for the pictures of a batch. For several pictures
// with a net each, every picture has weights of its own, which kernels/conv*.cu know and cuDNN does not.
TEST(PlansOfGenerators, EveryConvolutionHasOne) {
  for (const Network& network : networks_of_generators()) {
    EXPECT_EQ(network.layers.size(), network.name == "csae" ? 8u : 19u);
    for (const Layer& layer : network.layers)
      for (ConvPrecision precision : kPrecisions) {
        expect_plans(key_of(layer, ConvPass::kForward, precision, 1, true));
        expect_plans(key_of(layer, ConvPass::kBackwardData, precision, 1, false));
        expect_plans(key_of(layer, ConvPass::kBackwardFilter, precision, 1, false));
        for (ConvPass pass : {ConvPass::kForward, ConvPass::kBackwardData, ConvPass::kBackwardFilter}) {
          std::string summary;
          EXPECT_TRUE(has_plan(key_of(layer, pass, precision, 64, pass == ConvPass::kForward), &summary)) << summary;
        }
      }
  }
}

ConvShape square(int64_t in, int64_t out, int64_t size, int64_t filter, int64_t stride = 1) {
  const int64_t pad = filter / 2;
  return {1, in, size, size, out, filter, filter, {stride, stride}, {pad, pad, pad, pad}};
}

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

// The file may have been written by hand: a plan that would give other bits, or less precision, is not built from it.
TEST(PlanChoice, RefusesWhatListsLeaveOut) {
  PlanKey key = key_of({square(64, 64, 56, 3)}, ConvPass::kForward, ConvPrecision::kTf32, 8, true);
  const PlanList list = list_plans(key, h200(), deviceless_limits());
  const auto with_tensor_cores = std::find_if(list.plans.begin(), list.plans.end(),
                                              [](const PlanCandidate& plan) { return plan.tensor_cores && !plan.runtime_compiled; });
  ASSERT_NE(with_tensor_cores, list.plans.end());
  key.precision = ConvPrecision::kF32;
  expect_error(ErrorCode::kUnsupported, {"forward fp32", "of another precision"}, [&] { Plan(key, with_tensor_cores->choice, h200()); });
}

TEST(PlanArguments, AreThoseOfTheKey) {
  const PlanKey key = usual_key();
  const Plan plan(key, precompiled_plans(key).front().choice, h200());
  alignas(16) char memory[64];
  const ConvTensors good{memory, memory + 16, memory + 32, memory + 48, nullptr, nullptr};
  const Plan::Arguments arguments = plan.bind(good, memory);
  ConvTensors bad = good;
  bad.bias = nullptr;
  expect_error(ErrorCode::kInternal, {"no address for bias"}, [&] { plan.bind(bad, memory); });
}

// Where there is no GPU, the libraries say so in one line.
TEST(Libraries, SayWhyTheyCannotBeUsed) {
  try {
    DeviceDescription::of_device(0);
    GTEST_SKIP() << "there is a GPU";
  } catch (const Error&) {
  }
  CudnnOptions cudnn;
  cudnn.cache_path.clear();
  cudnn.stream = reinterpret_cast<CUstream_st*>(0x10);
  cudnn.rest = [](const PlanKey&, const ConvTensors&) {};
  expect_error(ErrorCode::kUnsupported, {"cuDNN cannot use CUDA device 0", "CUDNN_STATUS_"}, [&] { make_cudnn_library(cudnn); });
#ifdef ACTMATCH_HAVE_CUBLAS
  CublasOptions cublas;
  cublas.stream = cudnn.stream;
  expect_error(ErrorCode::kUnsupported, {"cuBLAS cannot be used on this machine", "CUBLAS_STATUS_"}, [&] { make_cublas_library(cublas); });
#endif
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
  const PlanList all = list_plans(key, h200(), deviceless_limits());
  PlanLimits none = deviceless_limits();
  none.workspace_bytes = 0;
  const PlanList small = list_plans(key, h200(), none);
  EXPECT_LT(small.plans.size(), all.plans.size());
  EXPECT_EQ(small.candidates, all.candidates);
  EXPECT_EQ(small.plans.size() + static_cast<size_t>(small.too_much_workspace),
            all.plans.size() + static_cast<size_t>(all.too_much_workspace));
  for (const PlanCandidate& plan : small.plans) EXPECT_EQ(plan.workspace_bytes, 0u);
}

// As many precompiled plans as asked for, and those that come first.
TEST(PlanList, EndsWhereItIsEnough) {
  const PlanKey key = usual_key();
  const PlanList all = list_plans(key, h200(), deviceless_limits());
  PlanLimits few = deviceless_limits();
  few.enough = 3;
  const PlanList some = list_plans(key, h200(), few);
  const auto compiled =
      std::count_if(some.plans.begin(), some.plans.end(), [](const PlanCandidate& plan) { return plan.runtime_compiled; });
  ASSERT_EQ(some.plans.size(), 3u + static_cast<size_t>(compiled));
  ASSERT_GT(all.plans.size(), some.plans.size());
  for (size_t i = 0; i < some.plans.size(); ++i) EXPECT_EQ(some.plans[i].choice, all.plans[i].choice);
}

// Some engines add up in whatever order threads arrive: they are named by cuDNN, counted, and not among the plans.
TEST(PlanList, LeavesOutWhatIsNotDeterministic) {
  PlanKey key = usual_key();
  key = key_of({key.shape}, ConvPass::kBackwardData, ConvPrecision::kBf16, 8, false);
  const PlanList list = list_plans(key, h200(), deviceless_limits());
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
               [&] { list_plans(key, h200(), deviceless_limits()); });
  key = usual_key();
  key.shape.groups = 5;
  expect_error(ErrorCode::kInvalidArgument, {"groups 5", "CUDNN_STATUS_BAD_PARAM"}, [&] { list_plans(key, h200(), deviceless_limits()); });
  key = usual_key();
  key.shape.K = 0;
  expect_error(ErrorCode::kInvalidArgument, {"w 0x3x3x64", "CUDNN_STATUS_BAD_PARAM"},
               [&] { list_plans(key, h200(), deviceless_limits()); });
}

// A shape that exists but that nothing serves: no exception from list_plans, one with the numbers from require_any.
TEST(PlanErrors, AShapeWithoutPlansSaysWhy) {
  const PlanKey key = key_of({square(64, 64, 56, 3), ConvActivation::kRelu, ConvActivation::kClippedRelu}, ConvPass::kBackwardData,
                             ConvPrecision::kBf16, 8, true);
  PlanKey grouped = key;
  grouped.shape.groups = 16;
  const PlanList list = list_plans(grouped, h200(), deviceless_limits());
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
