// What is written as an ONNX file is read back as the same net. Elsewhere: explainer_in_onnx.py.
#include "onnx_import/writer.h"

#include "engine/image/file.h"
#include "onnx_import/importer.h"
#include "tests/explain/explain_test_util.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace actmatch::test {
namespace {

std::vector<float> run(const Graph& graph, const std::vector<float>& x) {
  const auto program = cpu().compile(graph, {});
  cpu().upload(program->data(graph.inputs()[0]), x.data(), x.size());
  program->forward();
  std::vector<float> y(static_cast<size_t>(element_count(graph.value(graph.outputs()[0]).shape)));
  cpu().download(y.data(), program->data(graph.outputs()[0]), y.size());
  return y;
}

Graph read_back(const std::string& file, int64_t batch) {
  onnx_import::BuildOptions options;
  options.batch = batch;
  return onnx_import::Model::from_bytes(std::as_bytes(std::span(file)), "written").build(options);
}

// Sizes that need padding and cropping and that do not; both nets; all forms of a shared generator.
TEST(Writer, SharedGeneratorsComeBackForAnyBatch) {
  for (GeneratorKind kind : {GeneratorKind::kCsae, GeneratorKind::kUnet})
    for (Sharing sharing : {Sharing::kShared, Sharing::kSharedOrder})
      for (const auto& [height, width, smooth] : {std::tuple{32, 32, true}, {21, 40, true}, {21, 40, false}}) {
        const GeneratorSpec spec{kind, 8, smooth, sharing == Sharing::kShared ? 0.5f : 0.0f};
        const std::string file =
            onnx_import::write_model(build_generator(spec, 1, 3, height, width, 3, sharing).graph, {"g", "N", {{"key", "value"}}});
        for (int64_t batch : {1, 3}) {
          const auto x = list<float>(noise({batch, 3, height, width}, 5));
          const Graph back = read_back(file, batch);
          ASSERT_EQ(back.value(back.outputs()[0]).shape, (Shape{batch, 1, height, width}));
          const auto got = run(back, x), wanted = run(build_generator(spec, batch, 3, height, width, 3, sharing).graph, x);
          // The importer fuses and folds: a few roundings, of numbers around 1.
          for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], wanted[i], 2e-5) << name_of(kind) << " " << height << " " << batch;
        }
      }
}

TEST(Writer, PoolsActivationsAndConstantsComeBack) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {1, 2, 6, 8});
  PoolAttrs pool;
  pool.kernel = {3, 3}, pool.strides = {2, 2}, pool.pads = {1, 1, 1, 1};
  ValueId y = kNoValue;
  for (PoolMode mode : {PoolMode::kMax, PoolMode::kAverageIncludePad, PoolMode::kAverageExcludePad}) {
    pool.mode = mode;
    const ValueId p = g.add_node("pool", pool, {x}, "same name");  // names need not be unique in a graph
    y = y == kNoValue ? p : g.add_node("join", ConcatAttrs{1}, {y, p});
  }
  for (UnaryKind kind :
       {UnaryKind::kSigmoid, UnaryKind::kTanh, UnaryKind::kSoftplus, UnaryKind::kLeakyRelu, UnaryKind::kElu, UnaryKind::kRelu})
    y = g.add_node("f", UnaryAttrs{kind, 0.3f, 0}, {y});
  y = g.add_node("pad", PadAttrs{{0, 0, 1, 0}, {0, 0, 0, 2}, PadMode::kConstant, 0.25f}, {y});
  y = g.add_node("thin", SliceAttrs{{0, 1, 0, 0}, {1, 2, 1, 2}, {1, 3, 4, 3}}, {y});
  y = g.add_node("times", BinaryAttrs{BinaryKind::kMul}, {y, g.add_constant("c", floats({3, 1, 1}, {1, -2, 3}))});
  y = g.add_node("top", ReduceAttrs{ReduceKind::kMax, {1}, true}, {y});
  g.mark_output(y);
  const Graph back = read_back(onnx_import::write_model(g, {"g", "N", {}}), 1);
  const auto picture = list<float>(noise({1, 2, 6, 8}, 9));
  const auto got = run(back, picture), wanted = run(g, picture);
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-6);
}

TEST(Writer, MetadataIsRead) {
  const TemporaryFolder folder;
  Graph g;
  g.mark_output(g.add_node("f", UnaryAttrs{UnaryKind::kRelu, 0, 0}, {g.add_input("x", DType::kF32, {1, 1, 2, 2})}));
  const std::map<std::string, std::string> metadata{{"actmatch.kind", "explainer"}, {"text", "a\nb"}};
  write_file_atomically(folder / "a.onnx", onnx_import::write_model(g, {"g", "N", metadata}));
  EXPECT_EQ(onnx_import::read_metadata(folder / "a.onnx"), metadata);
  write_file_atomically(folder / "b.onnx", std::string_view("no model"));
  EXPECT_TRUE(onnx_import::read_metadata(folder / "b.onnx").empty());
  expect_error(ErrorCode::kNotFound, {"c.onnx"}, [&] { onnx_import::read_metadata(folder / "c.onnx"); });
}

TEST(Writer, WhatCannotBeWrittenIsNamed) {
  const auto refuse = [](const std::string& why, const std::function<ValueId(Graph&, ValueId)>& add) {
    Graph g;
    g.mark_output(add(g, g.add_input("x", DType::kF32, {2, 4, 6, 6})));
    expect_error(ErrorCode::kUnsupported, {"'node'", why}, [&] { onnx_import::write_model(g, {"g", "N", {}}); });
  };
  refuse("Softmax", [](Graph& g, ValueId x) { return g.add_node("node", SoftmaxAttrs{1, false}, {x}); });
  refuse("Erf", [](Graph& g, ValueId x) { return g.add_node("node", UnaryAttrs{UnaryKind::kErf, 0, 0}, {x}); });
  refuse("Pow", [](Graph& g, ValueId x) { return g.add_node("node", BinaryAttrs{BinaryKind::kPow}, {x, x}); });
  refuse("batch", [](Graph& g, ValueId x) { return g.add_node("node", ConcatAttrs{0}, {x, x}); });
  refuse("batch", [](Graph& g, ValueId x) { return g.add_node("node", SliceAttrs{{0, 0, 0, 0}, {1, 1, 1, 1}, {1, 4, 6, 6}}, {x}); });
  refuse("batch", [](Graph& g, ValueId x) { return g.add_node("node", PadAttrs{{1, 0, 0, 0}, {0, 0, 0, 0}, PadMode::kEdge, 0}, {x}); });
  refuse("batch", [](Graph& g, ValueId x) { return g.add_node("node", ReduceAttrs{ReduceKind::kMean, {0, 1}, true}, {x}); });
  refuse("factor", [](Graph& g, ValueId x) { return g.add_node("node", ResizeAttrs{ResizeMode::kLinear, 9, 12}, {x}); });
  refuse("each picture", [](Graph& g, ValueId x) {
    return g.add_node("node", BinaryAttrs{BinaryKind::kAdd}, {x, g.add_constant("c", Tensor(DType::kF32, {2, 1, 1, 1}))});
  });
  refuse("weights of its own", [](Graph& g, ValueId x) {
    return g.add_node("node", ConvAttrs{}, {x, g.add_constant("w", Tensor(DType::kF32, {2, 3, 4, 1, 1}))});
  });
}

}  // namespace
}  // namespace actmatch::test
