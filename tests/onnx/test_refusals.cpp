// What cannot be imported, and what the user is told. Each message is one line with file, place and cure.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>

#include "model_maker.h"

namespace actmatch::onnx_import {
namespace {

using testing::Test;

ModelMaker small() {
  ModelMaker m;
  m.input("x", {-1, 1, 4, 4}).filled("w", {2, 1, 3, 3}, 0.5f).node("Conv", {"x", "w"}, {"y"}, "c1").output("y");
  return m;
}

TEST(Refusals, MissingFileAndFolder) {
  ErrorCode code{};
  expect_all(error_text([] { Model::from_file("/nonexistent/net.onnx"); }, &code), {"/nonexistent/net.onnx", "does not exist"});
  EXPECT_EQ(code, ErrorCode::kNotFound);
  expect_all(error_text([] { Model::from_file("/tmp"); }), {"'/tmp'", "not a file"});
}

TEST(Refusals, FilesThatAreNoModels) {
  ErrorCode code{};
  expect_all(error_text([] { ModelMaker::parse(""); }, &code), {"test.onnx", "is empty"});
  EXPECT_EQ(code, ErrorCode::kFormat);
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::string noise(1 + random() % 4000, '\0');
    for (char& ch : noise) ch = static_cast<char>(random());
    expect_all(error_text([&] { ModelMaker::parse(noise); }, &code), {"test.onnx"});
    EXPECT_EQ(code, ErrorCode::kFormat);
  }
  expect_all(error_text([] { ModelMaker::parse("version https://git-lfs.github.com/spec/v1\n"); }), {"git lfs pull"});
  expect_all(error_text([] { ModelMaker::parse("PK\x03\x04 and so on"); }), {"torch.onnx.export"});
}

// The file on disk gives the same messages as bytes in memory.
TEST(Refusals, TruncatedAnywhere) {
  const std::string bytes = small().bytes();
  const auto path = std::filesystem::path(testing::TempDir()) / "truncated.onnx";
  for (size_t length = 0; length < bytes.size(); length += 7) {
    std::ofstream(path, std::ios::binary) << bytes.substr(0, length);
    const std::string from_file = error_text([&] { Model::from_file(path.string()).build(); });
    EXPECT_FALSE(from_file.empty()) << length << " of " << bytes.size() << " bytes were accepted";
    const std::string from_bytes = error_text([&] { ModelMaker::parse(bytes.substr(0, length)).build(); });
    EXPECT_EQ(from_file.substr(from_file.rfind('\'') + 1), from_bytes.substr(from_bytes.rfind('\'') + 1));
  }
  std::filesystem::remove(path);
}

TEST(Refusals, AllUnknownOperatorsAtOnce) {
  ModelMaker m = small();
  m.node("Frobnicate", {"y"}, {"a"}, "first").node("Relu", {"a"}, {"b"}, "middle").node("Bogus", {"b"}, {"c"}).output("c");
  m.last->set_domain("");
  m.node("FusedFrobnicate", {"x"}, {"d"}, "third").output("d");
  m.last->set_domain("com.microsoft");
  const Model model = m.model();
  ASSERT_EQ(model.problems().size(), 3u);
  EXPECT_EQ(model.problems()[0].node, "first");
  EXPECT_EQ(model.problems()[0].op, "Frobnicate");
  EXPECT_EQ(model.problems()[0].opset, 13);
  ErrorCode code{};
  expect_all(error_text([&] { model.build(); }, &code), {"test.onnx", "3 problems", "'first' (Frobnicate, opset 13)", "'Bogus_3'",
                                                         "'third' (FusedFrobnicate", "com.microsoft", "SUPPORTED_OPS.md"});
  EXPECT_EQ(code, ErrorCode::kUnsupported);
}

TEST(Refusals, OpsetsOutsideTheRange) {
  for (int64_t opset : {0, 29, 1000}) {
    ModelMaker m(opset);
    m.input("x", {1, 1, 4, 4}).node("Relu", {"x"}, {"y"}).node("Frobnicate", {"y"}, {"z"}, "f").output("z");
    expect_all(error_text([&] { m.build(); }), {("opset " + std::to_string(opset)).c_str(), "1 to 28", "'f' (Frobnicate", "2 problems"});
  }
  ModelMaker old(5);  // what the operator was then is not what it is now
  old.input("x", {1, 1, 4, 4}).ints("n", {1, 1, 1, 2}).node("Relu", {"x"}, {"y"}).node("Tile", {"y", "n"}, {"z"}, "t").output("z");
  expect_all(error_text([&] { old.build(); }), {"'t' (Tile, opset 5)", "opsets 6 to 28", "1 problem:"});
  ModelMaker gelu(19);  // known, but not yet
  gelu.input("x", {1, 4}).node("Gelu", {"x"}, {"y"}, "g").output("y");
  expect_all(error_text([&] { gelu.build(); }), {"'g' (Gelu, opset 19)", "opsets 20 to 28"});
}

// As in other runtimes such a model runs; that it gives NaN is said when it is looked at. An infinity that is no weight is a bound or a
// mask.
TEST(Refusals, WeightsThatAreNotFiniteAreNoted) {
  for (float odd : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    ModelMaker m = small();
    m.proto.mutable_graph()->mutable_initializer(0)->set_float_data(4, odd);
    EXPECT_EQ(error_text([&] { m.build(); }), "");
    ASSERT_EQ(m.model().notices().size(), 1u);
    expect_all(m.model().notices()[0], {"'w'", "element 4", "not finite"});
  }
  EXPECT_TRUE(small().model().notices().empty());
  ModelMaker bound;
  bound.input("x", {1, 3}).floats("low", {}, {0.0f}).floats("high", {}, {std::numeric_limits<float>::infinity()});
  bound.node("Clip", {"x", "low", "high"}, {"y"}).output("y");
  EXPECT_EQ(error_text([&] { bound.build(); }), "");
  EXPECT_TRUE(bound.model().notices().empty());
}

TEST(Refusals, UndefinedDuplicateAndCyclicValues) {
  ModelMaker undefined = small();
  undefined.node("Add", {"nowhere", "y"}, {"a"}, "n1").node("Add", {"a", "neither"}, {"b"}, "n2").output("b");
  ErrorCode code{};
  expect_all(error_text([&] { undefined.model(); }, &code), {"'nowhere' (read by node 'n1')", "'neither' (read by node 'n2')"});
  EXPECT_EQ(code, ErrorCode::kFormat);

  ModelMaker twice = small();
  twice.node("Relu", {"x"}, {"y"}, "again");
  expect_all(error_text([&] { twice.model(); }), {"defines the value 'y' twice", "'again'"});

  ModelMaker cycle;
  cycle.input("x", {1, 2}).node("Add", {"x", "b"}, {"a"}, "n1").node("Relu", {"a"}, {"b"}, "n2").output("b");
  expect_all(error_text([&] { cycle.model(); }), {"cycle", "'n1'"});

  ModelMaker output = small();
  output.output("absent");
  expect_all(error_text([&] { output.model(); }), {"'absent' (an output of the model)"});
}

TEST(Refusals, NodesOutOfOrderAreSorted) {
  ModelMaker m;
  m.input("x", {1, 2}).node("Relu", {"a"}, {"b"}).node("Neg", {"x"}, {"a"}).output("b");
  const Graph graph = m.build();
  ASSERT_EQ(graph.nodes().size(), 2u);
  EXPECT_EQ(graph.value(graph.nodes()[0].output).name, "a");
}

TEST(Refusals, IncompleteFiles) {
  ModelMaker no_nodes;
  no_nodes.input("x", {1}).output("x");
  expect_all(error_text([&] { no_nodes.model(); }), {"without nodes"});
  ModelMaker no_output = small();
  no_output.proto.mutable_graph()->clear_output();
  expect_all(error_text([&] { no_output.model(); }), {"without outputs"});
  ModelMaker no_opset = small();
  no_opset.proto.clear_opset_import();
  expect_all(error_text([&] { no_opset.model(); }), {"opset_import"});
  ModelMaker no_graph = small();
  no_graph.proto.clear_graph();
  expect_all(error_text([&] { no_graph.model(); }), {"no graph"});
  ModelMaker old = small();
  old.proto.set_ir_version(2);
  expect_all(error_text([&] { old.model(); }), {"IR version 2", "3 to 14"});
}

TEST(Refusals, TensorsWhoseSizeIsWrong) {
  ModelMaker lying = small();
  lying.proto.mutable_graph()->mutable_initializer(0)->set_dims(0, int64_t{1} << 50);  // must not be allocated
  expect_all(error_text([&] { lying.model(); }), {"'w'", "holds 18 elements"});
  ModelMaker negative = small();
  negative.proto.mutable_graph()->mutable_initializer(0)->set_dims(0, -2);
  expect_all(error_text([&] { negative.model(); }), {"'w'", "negative extent -2"});
  ModelMaker odd;
  odd.input("x", {1}).node("Add", {"x", "w"}, {"y"}).output("y").initializer("w", {2}, onnx::TensorProto::FLOAT)->set_raw_data("1234567");
  expect_all(error_text([&] { odd.model(); }), {"'w'", "7 bytes"});
  ModelMaker external = small();
  external.proto.mutable_graph()->mutable_initializer(0)->set_data_location(onnx::TensorProto::EXTERNAL);
  ErrorCode code{};
  expect_all(error_text([&] { external.model(); }, &code), {"another file", "'w'", "one file"});
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  ModelMaker text = small();
  text.initializer("s", {1}, onnx::TensorProto::STRING)->add_string_data("hello");
  ASSERT_EQ(text.model().problems().size(), 1u);
  expect_all(text.model().problems()[0].message, {"'s'", "STRING"});
}

TEST(Refusals, InputsWithoutASize) {
  ModelMaker m;
  m.input("x", {-1, 3, -1, -1}).node("Relu", {"x"}, {"y"}).node("Frobnicate", {"y"}, {"z"}, "f").output("z");
  ASSERT_EQ(m.model().problems().size(), 1u) << "unknown operators are found without a size";
  EXPECT_EQ(m.model().problems()[0].node, "f");
  ModelMaker fine;
  fine.input("x", {-1, 3, -1, -1}).node("Relu", {"x"}, {"y"}).output("y");
  EXPECT_TRUE(fine.model().problems().empty());
  ErrorCode code{};
  expect_all(error_text([&] { fine.build({.batch = 2}); }, &code), {"'x'", "?x3x?x?", "give its shape"});
  EXPECT_EQ(code, ErrorCode::kInvalidArgument);
  const Graph graph = fine.build({.input_shapes = {{"x", {2, 3, 5, 7}}}});
  EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{2, 3, 5, 7}));
  expect_all(error_text([&] { fine.build({.input_shapes = {{"q", {1}}}}); }), {"no input 'q'"});
  expect_all(error_text([&] { fine.build({.input_shapes = {{"x", {1, 3}}}}); }), {"1x3", "2 dimensions"});
  expect_all(error_text([&] { fine.build({.input_shapes = {{"x", {1, 3, 0, 4}}}}); }), {"at least 1"});
}

TEST(Refusals, NodesThatAskForWhatIsNotThere) {
  ModelMaker m(13);
  m.input("x", {1, 1, 4, 4}).node("MaxPool", {"x"}, {"y", "indices"}, "n").set("kernel_shape", std::vector<int64_t>{2, 2});
  EXPECT_EQ(error_text([&, with = m]() mutable { with.output("y").build(); }), "") << "unused, it is no problem";
  expect_all(error_text([&, with = m]() mutable { with.output("y").output("indices").build(); }), {"'n'", "Indices"});
  ModelMaker training(14);
  training.input("x", {1, 2, 4, 4})
      .filled("v", {2}, 1.0f)
      .node("BatchNormalization", {"x", "v", "v", "v", "v"}, {"y"}, "bn")
      .set("training_mode", int64_t{1});
  expect_all(error_text([&] { training.output("y").build(); }), {"'bn'", "training mode", "eval()"});
  ModelMaker unread = small();
  unread.node("Relu", {"y"}, {"z"}, "r").set("shininess", 3.0f).output("z");
  expect_all(error_text([&] { unread.build(); }), {"'r'", "'shininess'"});
  ModelMaker misfit = small();
  misfit.filled("w2", {2, 5, 3, 3}, 1.0f).node("Conv", {"y", "w2"}, {"z"}, "c2").output("z");
  expect_all(error_text([&] { misfit.build(); }), {"'c2' (Conv, opset 13)", "channels"});
  EXPECT_NE(error_text([&] { small().build({.keep_values = {"absent"}}); }).find("no value 'absent'"), std::string::npos);
}

// Import must not compute tables larger than anything that fits.
TEST(Refusals, HugeTables) {
  ModelMaker range;
  range.ints("from", {}, {0}).ints("to", {}, {int64_t{1} << 40}).ints("by", {}, {1});
  range.node("Range", {"from", "to", "by"}, {"y"}, "r").output("y");
  expect_all(error_text([&] { range.build(); }), {"'r'", "elements"});
  for (float depth : {std::numeric_limits<float>::quiet_NaN(), 1e30f, 0.0f}) {
    ModelMaker hot;
    hot.ints("at", {1}).floats("depth", {1}, {depth}).floats("values", {2}, {0, 1});
    hot.node("OneHot", {"at", "depth", "values"}, {"y"}, "h").output("y");
    expect_all(error_text([&] { hot.build(); }), {"'h'", "depth", "out of range"});
  }
}

}  // namespace
}  // namespace actmatch::onnx_import
