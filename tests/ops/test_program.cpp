// The program's own promises: addresses, determinism, profile, memory, errors.
#include <algorithm>

#include "tests/ops/graph_maker.h"

namespace actmatch::test {
namespace {

GraphMaker small_net(int64_t batch = 2) {
  GraphMaker g(300, Leaf::kParameter);
  ValueId v = g.relu(g.conv(g.input(g.random().uniform({batch, 3, 12, 12})), 16, 3, 1, 1));
  v = g.relu(g.conv(v, 12, 3, 2, 1));
  g.output(g.linear(g.flat(g.global_mean(v)), 4));
  return g;
}

TEST(Program, TwoProgramsOfOneGraphGiveTheSameBits) {
  GraphMaker g = small_net();
  ProgramRunner a(tested_backend(), g.graph, g.options), b(tested_backend(), g.graph, g.options);
  const ProgramRun first = a.run(g.inputs, g.seeds), second = b.run(g.inputs, g.seeds);
  for (const auto& [id, values] : first.values) EXPECT_TRUE(matches(second.values.at(id), values, exact()));
  for (const auto& [id, values] : first.gradients) EXPECT_TRUE(matches(second.gradients.at(id), values, exact()));
}

TEST(Program, RowsOfABatchEqualSingleImages) {
  GraphMaker three = small_net(3), one = small_net(1);
  // Same seed, but the batch takes more numbers first: copy the weights over.
  for (size_t p = 0; p < one.graph.parameters().size(); ++p)
    one.inputs[one.graph.parameters()[p]] = oracle::from_tensor<double>(*three.graph.value(three.graph.parameters()[p]).constant);
  const ValueId x3 = three.graph.inputs()[0], x1 = one.graph.inputs()[0], y3 = three.graph.outputs()[0], y1 = one.graph.outputs()[0];
  ProgramRunner all(tested_backend(), three.graph, three.options);
  const ProgramRun batch = all.run(three.inputs, three.seeds);
  const auto row = [](const Doubles& a, int64_t n) {
    Shape shape = a.shape;
    shape[0] = 1;
    Doubles r(shape);
    for (int64_t i = 0; i < r.count(); ++i) r[i] = a[n * r.count() + i];
    return r;
  };
  ProgramRunner single(tested_backend(), one.graph, one.options);
  for (int64_t n = 0; n < 3; ++n) {
    one.inputs[x1] = row(three.inputs[x3], n);
    one.seeds[y1] = row(three.seeds[y3], n);
    const ProgramRun alone = single.run(one.inputs, one.seeds);
    // Another batch may choose another blocking of the sums: fp32 rounding, not more.
    EXPECT_TRUE(matches(row(batch.values.at(y3), n), alone.values.at(y1), in_precision(squared(1e-12)))) << n;
    EXPECT_TRUE(matches(row(batch.gradients.at(x3), n), alone.gradients.at(x1), in_precision(squared(1e-12)))) << n;
  }
}

TEST(Program, ParametersCanBeChangedBetweenSteps) {
  GraphMaker g = small_net();
  ProgramRunner runner(tested_backend(), g.graph, g.options);
  Arrays inputs = g.inputs;
  for (int step = 0; step < 3; ++step) {
    const ProgramRun got = runner.run(inputs, g.seeds);
    const auto want = oracle::run<double>(g.graph, inputs, g.seeds);
    for (const auto& [id, values] : got.values)  // fp32 through three layers
      EXPECT_TRUE(matches(values, want.values[static_cast<size_t>(id)], in_precision(squared(1e-11)))) << step;
    for (ValueId p : g.graph.parameters()) inputs[p] = g.random().uniform(g.shape(p), -0.3, 0.3);
  }
}

TEST(Program, ExposedValuesAreRowMajorAndStayAtTheirAddress) {
  GraphMaker g = small_net();
  const ValueId first = g.graph.node(0).output, relu = g.graph.node(1).output;
  g.options.exposed = {first, relu};
  g.check(squared(1e-11), squared(1e-11));  // includes the exposed values
  ProgramRunner runner(tested_backend(), g.graph, g.options);
  const float* address = runner.program().data(relu);
  runner.run(g.inputs, g.seeds);
  EXPECT_EQ(runner.program().data(relu), address);
}

// A value that is exposed, one that is seeded behind an activation and read in two layouts, the image and two results.
TEST(Program, ValuesCanBeTakenInPlace) {
  for (Leaf weights : {Leaf::kConstant, Leaf::kParameter}) {
    GraphMaker g = clear_of_kinks(310, weights, [](GraphMaker& m) {
      const ValueId first = m.conv(m.input(m.random().uniform({2, 3, 7, 6})), 5, 3, 1, 1);
      m.options.exposed.push_back(first);
      const ValueId tap = m.relu(m.conv(m.relu(first), 6, 3, 2, 1));
      m.seed(tap);
      const ValueId map = m.relu(m.conv(tap, 4, 3, 1, 1));
      m.output(map);
      m.output(m.linear(m.flat(tap), 4));
    });
    g.take_in_place();
    g.check(squared(1e-11), squared(1e-11));  // fp32 through three layers
  }
}

TEST(Program, AskingForWhatWasNotCompiledIsAnError) {
  GraphMaker g = small_net();
  ProgramRunner runner(tested_backend(), g.graph, g.options);
  EXPECT_THROW(runner.program().data(g.graph.node(0).output), Error);
  EXPECT_THROW(runner.program().gradient(g.graph.node(0).output), Error);
}

TEST(Program, ForwardOnly) {
  GraphMaker g = small_net();
  g.options.gradients = {};
  g.seeds.clear();
  g.check(squared(1e-11), exact());
}

TEST(Program, ProfileMeasuresEachNodeAndStartsAfresh) {
  GraphMaker g = small_net();
  ProgramRunner runner(tested_backend(), g.graph, g.options);
  Program& program = runner.program();
  runner.run(g.inputs, g.seeds);
  EXPECT_TRUE(program.profile().empty()) << "nothing is measured unless asked";
  program.enable_profiling(true);
  program.forward();
  program.backward();
  double forward = 0, backward = 0;
  std::vector<bool> seen(g.graph.nodes().size());
  for (const Program::NodeTime& t : program.profile()) {
    ASSERT_GE(t.node, 0);
    ASSERT_LT(static_cast<size_t>(t.node), seen.size());
    seen[static_cast<size_t>(t.node)] = true;
    EXPECT_FALSE(t.implementation.empty());
    EXPECT_GE(t.forward_seconds, 0);
    EXPECT_GE(t.backward_seconds, 0);
    forward += t.forward_seconds;
    backward += t.backward_seconds;
  }
  EXPECT_GT(forward, 0);
  EXPECT_GT(backward, 0);
  for (size_t n = 0; n < seen.size(); ++n)  // ReLUs have become part of their convolutions
    EXPECT_EQ(seen[n], g.graph.node(static_cast<NodeId>(n)).op() != OpKind::kUnary) << n;
  double rest = 0;
  for (const Program::NodeTime& t : program.profile()) rest += t.forward_seconds + t.backward_seconds;
  EXPECT_EQ(rest, 0);
}

TEST(Program, ReportsItsMemory) {
  GraphMaker g = small_net();
  ProgramRunner runner(tested_backend(), g.graph, g.options);
  const MemoryReport report = runner.program().memory();
  size_t exposed = 0;  // inputs, parameters, output and the gradients of all of them, in fp32
  for (ValueId id : g.options.gradients.wanted) exposed += 8 * static_cast<size_t>(element_count(g.shape(id)));
  exposed += 8 * static_cast<size_t>(element_count(g.shape(g.graph.outputs()[0])));
  EXPECT_EQ(report.exposed_bytes, exposed);
  EXPECT_GT(report.arena_bytes, 0u);
}

TEST(Program, ListsEveryNodeItCannotRun) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::kF32, {1, 3, 2, 2});
  const ValueId v = graph.add_constant("v", Tensor(DType::kF32, {3}));
  const ValueId y = graph.add_node("first", BatchNormAttrs{}, {x, v, v, v, v});
  graph.mark_output(graph.add_node("second", BatchNormAttrs{}, {y, v, v, v, v}));
  try {
    tested_backend().compile(graph, {});
    FAIL() << "batch norms that the passes did not fold cannot run";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUnsupported);
    for (const char* part : {"first", "second"}) EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace actmatch::test
