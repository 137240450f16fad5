// What the backend asks of the libraries, and that it puts their results together rightly: with libraries of the test's own that can do
// everything, or only some of it.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>

#include "engine/backend/cuda/conv_tensors.h"
#include "engine/backend/cuda/cuda_device_backend.h"
#include "engine/backend/cuda/ops/conv_rest.h"
#include "kernels/cuda.h"
#include "tests/backend/emulated/kernel_plans.h"
#include "tests/ops/graph_maker.h"

namespace actmatch::test {
namespace {

using cuda::ConvActivation;
using cuda::ConvPass;
using cuda::ConvTensors;
using cuda::PlanKey;

// fp32 plans made of our kernels and then whatever is fused. A workspace is asked for and spoilt, so that sharing it wrongly would show.
class TestConvLibrary : public cuda::ConvLibrary {
 public:
  TestConvLibrary(cudaStream_t stream, std::function<bool(const PlanKey&)> can) : stream_(stream), can_(std::move(can)) {}
  std::shared_ptr<cuda::ConvRunner> find(const PlanKey& key) override {
    if (!can_(key)) return nullptr;
    return std::make_shared<Runner>(stream_, key, &used);
  }
  static inline std::set<std::string> used;

 private:
  class Runner : public cuda::ConvRunner {
   public:
    Runner(cudaStream_t stream, const PlanKey& key, std::set<std::string>* used) : stream_(stream), key_(key), used_(used) {}
    size_t workspace_bytes() const override { return 100; }
    void run(const ConvTensors& t, void* workspace) override {
      cuda::require_tensors(key_, t);
      ASSERT_NE(workspace, nullptr);
      const char* activations[] = {"", "a", "c"};
      used_->insert(std::to_string(static_cast<int>(key_.pass)) + (key_.bias ? "b" : "") + (key_.residual ? "r" : "") +
                    activations[static_cast<int>(key_.activation)]);
      // What is written is spoilt first: a plan may not find anything there.
      const cuda::ConvBytes sizes = cuda::bytes_of(key_);
      ACTMATCH_CUDA(cudaMemsetAsync(workspace, 0x7f, 100, stream_));
      switch (key_.pass) {
        case ConvPass::kForward: ACTMATCH_CUDA(cudaMemsetAsync(t.y, 0xff, sizes.y, stream_)); break;
        case ConvPass::kBackwardData: ACTMATCH_CUDA(cudaMemsetAsync(t.x, 0xff, sizes.x, stream_)); break;
        case ConvPass::kBackwardFilter: ACTMATCH_CUDA(cudaMemsetAsync(t.w, 0xff, sizes.w, stream_)); break;
      }
      if (key_.pass == ConvPass::kBackwardFilter) scratch_.resize(filter_scratch_bytes(key_));
      run_with_kernels(stream_, key_, t, scratch_.data());
    }
    double microseconds() const override { return 1; }
    std::string description() const override { return "test plan"; }

   private:
    cudaStream_t stream_;
    PlanKey key_;
    std::set<std::string>* used_;
    std::vector<std::max_align_t> scratch_;
  };
  cudaStream_t stream_;
  std::function<bool(const PlanKey&)> can_;
};

class TestMatMulLibrary : public cuda::MatMulLibrary {
 public:
  explicit TestMatMulLibrary(cudaStream_t stream) : stream_(stream) {}
  std::shared_ptr<cuda::MatMulRunner> find(const cuda::MatMulKey& key) override { return std::make_shared<Runner>(stream_, key); }
  static inline int runs = 0;

 private:
  class Runner : public cuda::MatMulRunner {
   public:
    Runner(cudaStream_t stream, const cuda::MatMulKey& key) : stream_(stream), key_(key) {}
    size_t workspace_bytes() const override { return 64; }
    void run(void* c, const void* a, const void* b, void* workspace) override {
      ASSERT_NE(workspace, nullptr);
      for (const void* p : {static_cast<const void*>(c), a, b}) ASSERT_EQ(reinterpret_cast<uintptr_t>(p) % 16, 0u);
      ++runs;
      multiply_with_kernels(stream_, key_, c, a, b);
    }
    std::string description() const override { return "test product"; }

   private:
    cudaStream_t stream_;
    cuda::MatMulKey key_;
  };
  cudaStream_t stream_;
};

std::unique_ptr<cuda::DeviceBackend> backend_with(const std::function<bool(const PlanKey&)>& can) {
  cuda::DeviceBackendParts parts;
  parts.stream = std::make_unique<cuda::Stream>();
  parts.convolutions = std::make_unique<TestConvLibrary>(parts.stream->get(), can);
  parts.products = std::make_unique<TestMatMulLibrary>(parts.stream->get());
  parts.description = "emulator with libraries";
  return std::make_unique<cuda::DeviceBackend>(std::move(parts));
}

struct Library {
  const char* name;
  bool (*can)(const PlanKey&);
};
const Library kLibraries[] = {
    {"everything", [](const PlanKey&) { return true; }},
    {"nothing fused", [](const PlanKey& k) { return k.activation == ConvActivation::kNone && !k.residual; }},
    {"no sums", [](const PlanKey& k) { return !k.residual; }},
    {"no clipped relu", [](const PlanKey& k) { return k.activation != ConvActivation::kClippedRelu; }},
    {"forward only", [](const PlanKey& k) { return k.pass == ConvPass::kForward; }},
    {"backward only", [](const PlanKey& k) { return k.pass != ConvPass::kForward; }},
    {"nothing", [](const PlanKey&) { return false; }},
};

// fp32 through a handful of layers.
const Tolerance kFewLayers = squared(1e-11);

template <class Make>
void check(const Make& make, uint64_t seed = 700) {
  for (const Library& library : kLibraries) {
    const auto backend = backend_with(library.can);
    for (Leaf weights : {Leaf::kConstant, Leaf::kParameter}) {
      SCOPED_TRACE(std::string(library.name) + (weights == Leaf::kConstant ? ", frozen" : ", trainable"));
      const GraphMaker g = clear_of_kinks(seed, weights, make);
      expect_like_oracle(*backend, g.graph, g.options, g.inputs, g.seeds, kFewLayers, kFewLayers);
    }
  }
}

// Two blocks whose skips meet behind a ReLU, one with a convolution in the skip, and a tap in between.
TEST(CudaLibraries, ResidualBlocks) {
  for (const float ceiling : {0.0f, 1.5f}) {
    TestConvLibrary::used.clear();
    check([&](GraphMaker& g) {
      const auto act = [&](ValueId v) { return ceiling > 0 ? g.unary(UnaryKind::kClip, v, 0.0f, ceiling) : g.relu(v); };
      ValueId v = act(g.conv(g.input(g.random().uniform({2, 3, 9, 8})), 8, 3, 1, 1));
      for (int block = 0; block < 2; ++block) {
        ValueId skip = v;
        const int64_t stride = block == 0 ? 1 : 2;
        v = g.conv(act(g.conv(v, 8, 3, stride, 1)), 8, 3, 1, 1);
        if (block == 1) skip = g.conv(skip, 8, 1, 2, 0);
        v = act(block == 0 ? g.sum(v, skip) : g.sum(skip, v));
        if (block == 0) g.seed(v);
      }
      g.output(g.linear(g.flat(g.global_mean(v)), 4));
    });
    std::vector<std::string> asked = {"0bra", "0ba", "0b", "1", "1r", "2"};
    if (ceiling > 0)
      asked.insert(asked.end(), {"0brc", "0bc", "1rc", "1c"});
    else
      asked.insert(asked.end(), {"1ra", "1a"});
    for (const std::string& what : asked) EXPECT_EQ(TestConvLibrary::used.count(what), 1u) << what << ": nobody asked for it";
  }
}

// A ceiling that is not fused is left to a kernel of our own behind a plain ReLU, which is the plan that it was compared with.
TEST(CudaLibraries, ACeilingBehindAPlainRelu) {
  const auto make = [](GraphMaker& g) {
    const ValueId x = g.unary(UnaryKind::kClip, g.conv(g.input(g.random().uniform({2, 3, 6, 6})), 8, 3, 1, 1), 0.0f, 0.75f);
    g.output(g.unary(UnaryKind::kClip, g.sum(g.conv(x, 8, 3, 1, 1), x), 0.0f, 0.75f));
  };
  const GraphMaker g = clear_of_kinks(710, Leaf::kConstant, make);
  const auto backend = backend_with([](const PlanKey& k) { return k.activation != ConvActivation::kClippedRelu; });
  TestConvLibrary::used.clear();
  expect_like_oracle(*backend, g.graph, g.options, g.inputs, g.seeds, kFewLayers, kFewLayers);
  EXPECT_EQ(TestConvLibrary::used, (std::set<std::string>{"0ba", "0bra", "1"}));
}

// The implementations of a program's steps that have a plan, after a pass forward and backward.
std::vector<std::string> planned_steps(Backend& backend, const GraphMaker& g) {
  ProgramRunner runner(backend, g.graph, g.options);
  runner.program().enable_profiling(true);
  runner.run(g.inputs, g.seeds);
  std::vector<std::string> found;
  for (const Program::NodeTime& time : runner.program().profile())
    if (time.implementation.find("plan") != std::string::npos) found.push_back(time.implementation);
  return found;
}

// Several convolutions and something else read one value: its gradient moves with every sum of a plan, and is added to in place between.
GraphMaker branches(ValueId* inner = nullptr) {
  return clear_of_kinks(720, Leaf::kConstant, [&](GraphMaker& g) {
    const ValueId x = g.relu(g.conv(g.input(g.random().uniform({2, 3, 7, 6})), 8, 3, 1, 1));
    if (inner) *inner = x;
    const ValueId a = g.conv(x, 6, 3, 1, 1), b = g.conv(x, 6, 1, 1, 0);
    const ValueId scaled = g.unary(UnaryKind::kNeg, x);
    const ValueId c = g.conv(x, 8, 3, 1, 1), d = g.conv(x, 6, 5, 1, 2);
    g.output(g.sum(g.sum(a, b), d));
    g.output(g.unary(UnaryKind::kTanh, g.sum(scaled, c)));
  });
}

TEST(CudaLibraries, GradientsOfManyBranches) {
  const GraphMaker g = branches();
  const std::string plain = "test plan | test plan", sum = plain + " + skip", both = sum + " + derivative";
  for (const Library& library : kLibraries) {
    SCOPED_TRACE(library.name);
    expect_like_oracle(*backend_with(library.can), g.graph, g.options, g.inputs, g.seeds, kFewLayers, kFewLayers);
  }
  // In the order of the steps: the first convolution, a, b, d, c. Backward, c's gradient is the first one there and a's the last.
  EXPECT_EQ(planned_steps(*backend_with(kLibraries[0].can), g), (std::vector<std::string>{plain, both, sum, sum, plain}));
  EXPECT_EQ(planned_steps(*backend_with([](const PlanKey& k) { return !k.residual; }), g),
            (std::vector<std::string>{plain, plain, plain, plain, plain}));
}

// Whoever measures a network must see what the library was asked for and could not do.
TEST(CudaLibraries, ConvolutionsTellWhenTheyLackAPlan) {
  const GraphMaker g = branches();
  const auto implementations = [&](const std::function<bool(const PlanKey&)>& can) {
    const auto backend = backend_with(can);
    ProgramRunner runner(*backend, g.graph, g.options);
    runner.program().enable_profiling(true);
    runner.run(g.inputs, g.seeds);
    std::vector<std::string> found;
    for (const Program::NodeTime& time : runner.program().profile())
      if (std::holds_alternative<ConvAttrs>(g.graph.node(time.node).attrs) && time.implementation.find(" | ") != std::string::npos)
        found.push_back(time.implementation);
    return found;
  };
  const std::string lack = "kernel for lack of a plan";
  EXPECT_EQ(implementations([](const PlanKey&) { return false; }), std::vector<std::string>(5, lack + " | " + lack));
  for (const std::string& text : implementations([](const PlanKey& k) { return k.pass == ConvPass::kForward; }))
    EXPECT_EQ(text, "test plan | " + lack);
  for (const std::string& text : implementations([](const PlanKey&) { return true; }))
    EXPECT_EQ(text.find(lack), std::string::npos) << text;
}

// A gradient that the caller asks for moves too, but not with a derivative in it.
TEST(CudaLibraries, AWantedGradientOfManyBranches) {
  ValueId inner = kNoValue;
  GraphMaker g = branches(&inner);
  g.options.gradients.wanted.push_back(inner);
  const auto backend = backend_with(kLibraries[0].can);
  expect_like_oracle(*backend, g.graph, g.options, g.inputs, g.seeds, kFewLayers, kFewLayers);
  for (const std::string& step : planned_steps(*backend, g)) EXPECT_EQ(step.find("derivative"), std::string::npos) << step;
}

// Every pass begins where the first one began, which the recorded one has by its addresses: recorded, and plainly in between.
TEST(CudaLibraries, GradientsThatMoveComeBack) {
  const GraphMaker g = branches();
  const auto backend = backend_with(kLibraries[0].can);
  ProgramRunner runner(*backend, g.graph, g.options);
  const ProgramRun want = runner.run(g.inputs, g.seeds);
  const auto expect_same_gradients = [&](const char* when) {
    for (const auto& [id, values] : want.gradients) EXPECT_TRUE(matches(runner.read_gradient(id), values, exact())) << when;
  };
  const auto step = [&] {
    runner.program().forward();
    runner.program().backward();
  };
  const auto recording = backend->record(step);
  EXPECT_EQ(recording->implementation().rfind("CUDA graph of ", 0), 0u) << recording->implementation();
  for (int replay = 0; replay < 2; ++replay) {
    for (const auto& [id, values] : g.inputs) runner.write(id, values);
    recording->replay();
    expect_same_gradients("replayed");
    step();
    expect_same_gradients("plainly after a replay");
  }
}

// The sum in the plan needs no more memory than the sum behind it: the second buffer takes over when the first one is done with.
TEST(CudaLibraries, GradientsThatMoveTakeNoMoreMemory) {
  const GraphMaker g = branches();
  const auto with = backend_with(kLibraries[0].can), without = backend_with([](const PlanKey&k) { return !k.residual; });
  EXPECT_LE(with->compile(g.graph, g.options)->memory().arena_bytes, without->compile(g.graph, g.options)->memory().arena_bytes);
}

// A plan with less fused to it and the kernel that it is compared with come to what the plan with all of it does.
TEST(CudaLibraries, TheRestMakesUpForWhatIsNotFused) {
  cuda::Stream stream;
  TestConvLibrary library(stream.get(), [](const PlanKey&) { return true; });
  PlanKey key;
  key.shape = {2, 4, 5, 6, 8, 3, 3, {1, 1}, {1, 1, 1, 1}};
  std::vector<PlanKey> keys;
  for (const ConvPass pass : {ConvPass::kForward, ConvPass::kBackwardData})
    for (const bool residual : {false, true})
      for (const ConvActivation activation : {ConvActivation::kNone, ConvActivation::kRelu, ConvActivation::kClippedRelu}) {
        key.pass = pass, key.residual = residual, key.activation = activation;
        key.ceiling = activation == ConvActivation::kClippedRelu ? 0.5f : 0.0f;
        if (cuda::less_fused(key)) keys.push_back(key);
      }
  ASSERT_EQ(keys.size(), 7u);
  for (const PlanKey& fused : keys) {
    SCOPED_TRACE(cuda::describe(fused));
    const PlanKey less = *cuda::less_fused(fused);
    const cuda::ConvBytes sizes = cuda::bytes_of(fused);
    RandomArrays random(9);
    const auto numbers = [&](size_t bytes) {
      const Doubles values = random.uniform({static_cast<int64_t>(bytes / sizeof(float))});
      return std::vector<float>(values.data.begin(), values.data.end());
    };
    std::vector<float> x = numbers(sizes.x), w = numbers(sizes.w), y = numbers(sizes.y), addend = numbers(sizes.addend), work(25);
    std::vector<float> saved = numbers(sizes.saved);
    for (float& v : saved) v = clip_of(fused)(v);
    ConvTensors tensors{x.data(), w.data(), y.data(), nullptr, addend.data(), saved.data()};
    if (sizes.addend == 0) tensors.addend = nullptr;
    if (sizes.saved == 0) tensors.saved = nullptr;
    std::vector<float>& result = fused.pass == ConvPass::kForward ? y : x;
    library.find(fused)->run(tensors, work.data());
    ACTMATCH_CUDA(cudaStreamSynchronize(stream.get()));
    const std::vector<float> want = result;

    ConvTensors rest = tensors;
    tensors.saved = nullptr;
    std::vector<float> sum = addend;  // where the gradient so far lies, if there is one
    if (fused.pass == ConvPass::kBackwardData && fused.residual) {
      tensors.addend = nullptr;
      rest.x = sum.data();
      rest.addend = x.data();
    }
    library.find(less)->run(tensors, work.data());
    cuda::run_rest(stream.get(), fused, rest);
    ACTMATCH_CUDA(cudaStreamSynchronize(stream.get()));
    const std::vector<float>& got = rest.x == sum.data() ? sum : result;
    const auto doubles = [](const std::vector<float>& values) {
      Doubles d({static_cast<int64_t>(values.size())});
      d.data.assign(values.begin(), values.end());
      return d;
    };
    EXPECT_TRUE(matches(doubles(got), doubles(want), kFewLayers));
  }
}

// By the gradient's plan forward and by the convolution's backward, with a bias and a clip behind it, and where gradients meet: behind a
// clip, whose derivative no forward plan takes, and without one.
TEST(CudaLibraries, TransposedConvolutions) {
  TestConvLibrary::used.clear();
  check([](GraphMaker& g) {
    const auto up = [&](ValueId x, int64_t filters, ConvTransposeAttrs attrs, int64_t kernel, bool bias) {
      std::vector<ValueId> in = {x, g.weight({g.shape(x)[1], filters / attrs.groups, kernel, kernel}, 0.3)};
      if (bias) in.push_back(g.weight({filters}, 0.1));
      return g.add(attrs, in);
    };
    ValueId v = g.input(g.random().uniform({2, 6, 4, 3}));
    v = g.relu(up(v, 8, {{2, 2}}, 2, true));
    v = up(v, 6, {{2, 2}, {1, 1, 1, 1}, {1, 1}, {1, 1}, 2}, 3, false);
    v = g.unary(UnaryKind::kClip, v, -0.5f, 0.5f);
    for (int i = 0; i < 2; ++i) {
      const ValueId a = up(v, 4, {{1, 1}, {1, 1, 1, 1}}, 3, true), b = up(v, 4, {}, 1, false);
      v = g.sum(a, b);
    }
    g.output(v);
  });
  EXPECT_EQ(TestConvLibrary::used, (std::set<std::string>{"0", "0r", "1", "2"}));
}

// A tap's gradient that the caller has written is there before the library's, whose last one takes the derivative along.
TEST(CudaLibraries, SeedsInPlace) {
  check([](GraphMaker& g) {
    const ValueId a = g.relu(g.conv(g.input(g.random().uniform({2, 3, 6, 6})), 8, 3, 1, 1));
    g.seed(a);
    const ValueId b = g.relu(g.sum(g.conv(a, 8, 3, 1, 1), a));
    g.seed(b);
    g.output(g.relu(g.conv(b, 4, 3, 2, 1)));
    g.take_in_place();
  });
}

// A value whose gradient is asked for must not have another's derivative in it.
TEST(CudaLibraries, WantedActivations) {
  check([](GraphMaker& g) {
    const ValueId a = g.relu(g.conv(g.input(g.random().uniform({2, 3, 6, 6})), 8, 3, 1, 1));
    g.options.gradients.wanted.push_back(a);
    g.output(g.relu(g.conv(a, 4, 3, 1, 1)));
  });
}

TEST(CudaLibraries, GroupsDilationsAndPads) {
  check([](GraphMaker& g) {
    ValueId v = g.relu(g.conv(g.input(g.random().uniform({1, 4, 9, 7})), 8, 3, 2, 1, 2));
    v = g.add(ConvAttrs{{1, 1}, {2, 2, 2, 2}, {2, 2}, 1}, {v, g.weight({6, 8, 3, 3}, 0.2)});
    v = g.add(ConvAttrs{{2, 1}, {1, 0, 0, 2}, {1, 1}, 1}, {v, g.weight({5, 6, 3, 3}, 0.2), g.weight({5}, 0.1)});
    g.output(v);
  });
}

// Bias and ReLU behind a product, and batches whose matrices do not begin where the library wants them to.
TEST(CudaLibraries, Products) {
  TestMatMulLibrary::runs = 0;
  check([](GraphMaker& g) {
    const ValueId x = g.input(g.random().uniform({2, 3, 4, 5}));
    const ValueId y = g.relu(g.linear(x, 7));
    const ValueId z = g.add(MatMulAttrs{true, false}, {x, y});
    g.output(g.add(MatMulAttrs{false, true}, {z, g.input(g.random().uniform({3, 6, 7}))}));
  });
  EXPECT_GT(TestMatMulLibrary::runs, 0);
}

}  // namespace
}  // namespace actmatch::test
