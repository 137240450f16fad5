// Of what a step consists on the GPU, counted where there is none: the real module with its kernels, on a runtime and libraries of the
// tests that compute nothing. For one picture a launch costs more than most of what it launches, so every one of them counts; the bounds
// are what there is, and who needs another launch has to say so here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "engine/backend/module.h"
#include "engine/explain/optimise.h"
#include "tests/backend/cuda/fake_cublaslt.h"
#include "tests/backend/cuda/fake_cudnn.h"
#include "tests/backend/cuda/fake_runtime.h"
#include "tests/explain/explain_test_util.h"

extern "C" const actmatch::ModuleTable* actmatch_backend_module();

namespace actmatch::cuda {
namespace {

constexpr int64_t kClasses = 10, kSize = 64;

// ResNet-18 (He et al. 2016), batch norms folded.
class ResNet18 {
 public:
  explicit ResNet18(int64_t batch) {
    ValueId x = graph_.add_input("x", DType::kF32, {batch, 3, kSize, kSize});
    x = relu("stem", conv(x, 3, 64, 7, 2));
    x = graph_.add_node("pool", PoolAttrs{PoolMode::kMax, {3, 3}, {2, 2}, {1, 1, 1, 1}}, {x});
    int64_t channels = 64;
    for (int stage = 0; stage < 4; ++stage)
      for (int block = 0; block < 2; ++block) {
        const int64_t to = int64_t{64} << stage, stride = stage > 0 && block == 0 ? 2 : 1;
        const ValueId y = conv(relu("", conv(x, channels, to, 3, stride)), to, to, 3, 1);
        const ValueId skip = channels == to ? x : conv(x, channels, to, 1, stride);
        x = relu("stage" + std::to_string(stage) + "." + std::to_string(block),
                 graph_.add_node("add", BinaryAttrs{BinaryKind::kAdd}, {y, skip}));
        channels = to;
      }
    x = graph_.add_node("mean", ReduceAttrs{ReduceKind::kMean, {2, 3}, false}, {x});
    const ValueId w = weights({512, kClasses}), b = weights({kClasses});
    graph_.mark_output(graph_.add_node("linear", MatMulAttrs{}, {x, w, b}, "logits"));
  }
  Graph take() { return std::move(graph_); }

 private:
  ValueId weights(Shape shape) { return graph_.add_constant("w" + std::to_string(count_++), Tensor(DType::kF32, std::move(shape))); }
  ValueId conv(ValueId x, int64_t from, int64_t to, int64_t filter, int64_t stride) {
    const int64_t pad = filter / 2;
    return graph_.add_node("conv" + std::to_string(count_++), ConvAttrs{{stride, stride}, {pad, pad, pad, pad}, {1, 1}, 1},
                           {x, weights({to, from, filter, filter}), weights({to})});
  }
  ValueId relu(const std::string& name, ValueId x) {
    const std::string node = name.empty() ? "relu" + std::to_string(count_++) : name;
    return graph_.add_node(node + ".relu", UnaryAttrs{UnaryKind::kRelu, 0, 0}, {x}, node);
  }
  Graph graph_;
  int count_ = 0;
};

class Launches : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("ACTMATCH_PLAN_CACHE", "", 1);
    fake_runtime() = FakeRuntime();
    fake_runtime().room = size_t{4} << 30;
    fake_cudnn() = FakeCudnn();
    fake_cudnn().knows_an_engine = true;
    fake_cublaslt() = FakeCublasLt();
  }
  void TearDown() override { ::unsetenv("ACTMATCH_PLAN_CACHE"); }

  // The nodes of a step's graph, by name.
  std::map<std::string, int> nodes_of_step(const Recipe& recipe, Precision precision) {
    ModuleFailure failure;
    std::unique_ptr<Backend> backend;
    EXPECT_TRUE(actmatch_backend_module()->make_backend(backend, {0, precision, {}}, failure)) << failure.message;
    Classifier classifier(*backend, [](int64_t batch, const std::vector<std::string>&) { return ResNet18(batch).take(); });
    Problem problem = test::problem_for(classifier, std::vector<float>(3 * kSize * kSize, 0.5f), 0.1f, {}, 1);
    fake_runtime().captures.clear();
    Optimiser optimiser(classifier, recipe);
    optimiser.run(problem, 1, {});
    EXPECT_NE(optimiser.implementation().find("CUDA graph"), std::string::npos) << optimiser.implementation();
    std::map<std::string, int> counts;
    for (const auto& capture : fake_runtime().captures) {
      if (std::find(capture.begin(), capture.end(), "record_step_kernel") == capture.end()) continue;
      counts.clear();
      for (const std::string& node : capture) ++counts[node];
    }
    return counts;
  }
  static int total(const std::map<std::string, int>& counts) {
    int sum = 0;
    for (const auto& [name, count] : counts) sum += count;
    return sum;
  }
  static void print(const std::string& title, const std::map<std::string, int>& counts) {
    std::printf("  %s: %d nodes\n", title.c_str(), total(counts));
    for (const auto& [name, count] : counts) std::printf("    %3d %s\n", count, name.c_str());
  }
};

struct Case {
  const char *name, *recipe;
  Precision precision;
  int nodes;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class LaunchesOf : public Launches, public ::testing::WithParamInterface<Case> {};

TEST_P(LaunchesOf, AStepAreNoMoreThanKnown) {
  Recipe recipe = load_recipe(GetParam().recipe, false);
  recipe.steps = 12;
  recipe.generator.start.clear();  // a first map is no part of a step
  const auto counts = nodes_of_step(recipe, GetParam().precision);
  print(GetParam().name, counts);
  EXPECT_LE(total(counts), GetParam().nodes);
  // Whatever is optimised is so in one launch.
  ASSERT_EQ(counts.count("adam_kernel"), 1u);
  EXPECT_EQ(counts.at("adam_kernel"), 1);
}

constexpr const char* kCsae = ACTMATCH_SOURCE_DIR "/tools/bench/recipe_csae.json";
INSTANTIATE_TEST_SUITE_P(Recipes, LaunchesOf,
                         ::testing::Values(Case{"csae_fp32", kCsae, Precision::kF32, 123}, Case{"csae_bf16", kCsae, Precision::kBf16, 144},
                                           Case{"default_fp32", "default", Precision::kF32, 70},
                                           Case{"default_bf16", "default", Precision::kBf16, 77},
                                           Case{"paper_fp32", "paper", Precision::kF32, 216},
                                           Case{"paper_bf16", "paper", Precision::kBf16, 252}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace actmatch::cuda
