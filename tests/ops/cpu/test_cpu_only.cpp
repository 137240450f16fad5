// What is true of the CPU backend alone: threads, choices of implementation, limits of oneDNN.
#include <omp.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "engine/backend/cpu/ops/winograd.h"
#include "tests/ops/graph_maker.h"

namespace actmatch::test {
namespace {

TEST(CpuOnly, ThreadsDoNotChangeAnything) {
  // Large enough that loops and primitives do split their work.
  GraphMaker g(301);
  const ValueId x = g.input(g.random().uniform({2, 8, 64, 64}));
  const ValueId v = g.relu(g.conv(x, 16, 3, 1, 1));
  g.output(g.sum(g.unary(UnaryKind::kTanh, v), v));
  const auto one = make_cpu_backend(1), two = make_cpu_backend(2);
  ProgramRunner a(*one, g.graph, g.options), b(*two, g.graph, g.options);
  const ProgramRun first = a.run(g.inputs, g.seeds), second = b.run(g.inputs, g.seeds);
  // Convolutions may split their sums by the number of threads, so their rounding is allowed to differ.
  for (const auto& [id, values] : first.values) EXPECT_TRUE(matches(second.values.at(id), values, squared(1e-12)));
  for (const auto& [id, values] : first.gradients) EXPECT_TRUE(matches(second.gradients.at(id), values, squared(1e-12)));
}

// The sub-pixel form stands behind the "stem" geometries above; this makes sure that they still reach it.
TEST(CpuOnly, StemsGoBackwardBySubpixels) {
  if (!cpu::Winograd::available()) GTEST_SKIP() << "this processor has other blocks of channels";
  for (int64_t stride : {1, 2}) {
    GraphMaker g(27, Leaf::kConstant);
    g.output(g.conv(g.input(g.random().uniform({2, 3, 15, 22})), 16, 7, stride, 3));
    const auto program = tested_backend().compile(g.graph, g.options);
    program->enable_profiling(true);
    program->forward();
    bool found = false;
    for (const auto& node : program->profile()) found = found || node.implementation.find("sub-pixel") != std::string::npos;
    EXPECT_EQ(found, stride == 2);
  }
}

TEST(CpuOnly, AverageWithPaddingThatReachesPastItIsRefusedWithItsReason) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::kF32, {1, 3, 8, 6});
  const PoolAttrs attrs{PoolMode::kAverageIncludePad, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}, true};
  graph.mark_output(graph.add_node("pool", attrs, {x}));
  EXPECT_NE(tested_backend().why_unsupported(graph, graph.node(0)).find("ceil_mode"), std::string::npos);
}

TEST(CpuOnly, RefusesOutputPaddingBeyondTheStride) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::kF32, {1, 2, 4, 4});
  const ValueId w = graph.add_parameter("w", Tensor(DType::kF32, {2, 2, 3, 3}));
  graph.mark_output(graph.add_node("up", ConvTransposeAttrs{{1, 1}, {0, 0, 0, 0}, {3, 3}, {2, 2}}, {x, w}));
  EXPECT_NE(tested_backend().why_unsupported(graph, graph.node(0)).find("output padding"), std::string::npos);
}

// Compiling counts too: there oneDNN settles how many threads a primitive will take.
TEST(CpuOnly, TakesTheThreadsItIsGiven) {
  const auto threads_of_this_process = [] {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
  };
  const auto at_first = threads_of_this_process();
  const auto more_threads = [&](int given, int environment) {
    std::ptrdiff_t more = -1;
    std::thread([&] {  // OpenMP's threads belong to the one that starts them: here there are none yet
      omp_set_num_threads(environment);
      const auto before = at_first + 1;  // and this one; those of the thread before may still be on their way out
      for (int tries = 0; threads_of_this_process() != before && tries < 500; ++tries)
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      GraphMaker g(302);
      const ValueId v = g.relu(g.conv(g.input(g.random().uniform({4, 16, 64, 64})), 32, 3, 1, 1));
      g.output(g.unary(UnaryKind::kTanh, v));
      const auto backend = make_cpu_backend(given);
      ProgramRunner(*backend, g.graph, g.options).run(g.inputs, g.seeds);
      more = threads_of_this_process() - before;
      EXPECT_EQ(omp_get_max_threads(), environment) << "the caller's own setting is left alone";
    })
        .join();
    return more;
  };
  EXPECT_EQ(more_threads(1, 3), 0);
  EXPECT_EQ(more_threads(2, 1), 1);
  EXPECT_EQ(more_threads(0, 3), 2) << "as the environment says";
}

}  // namespace
}  // namespace actmatch::test
