// What a file may look like apart from its operators: where weights lie and how they are stored, functions, graphs inside of nodes, and
// quantisation.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "model_maker.h"
#include "tests/support/temporary_folder.h"

namespace actmatch::onnx_import {
namespace {

using test::TemporaryFolder;

void expect_all(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts) EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

void write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// y = a + 0, where `a` lies in another file.
ModelMaker external(const std::vector<std::pair<std::string, std::string>>& entries, int64_t count = 4) {
  ModelMaker m;
  m.filled("zero", {}, 0.0f).node("Add", {"a", "zero"}, {"y"}).output("y");
  auto* tensor = m.initializer("a", {count}, onnx::TensorProto::FLOAT);
  tensor->set_data_location(onnx::TensorProto::EXTERNAL);
  for (const auto& [key, value] : entries) {
    auto* entry = tensor->add_external_data();
    entry->set_key(key);
    entry->set_value(value);
  }
  return m;
}

std::vector<float> result_of(const Model& model) {
  const Graph graph = model.build();
  return elements<float>(*graph.value(graph.outputs().at(0)).constant);
}

TEST(ExternalData, IsReadFromBesideTheModel) {
  const TemporaryFolder tmp;
  std::filesystem::create_directory(tmp / "parts");
  write(tmp / "parts/w.bin", "skip" + bytes_of({1, 2, 3, 4}));
  for (bool length : {true, false}) {
    ModelMaker m = external({{"location", "parts/w.bin"}, {"offset", "4"}});
    if (length) {
      auto* entry = m.proto.mutable_graph()->mutable_initializer(1)->add_external_data();
      entry->set_key("length");
      entry->set_value("16");
    }
    write(tmp / "m.onnx", m.bytes());
    const Model model = Model::from_file(tmp / "m.onnx");
    EXPECT_EQ(result_of(model), (std::vector<float>{1, 2, 3, 4}));
    ASSERT_EQ(model.external_files().size(), 1u);
    EXPECT_TRUE(model.external_files()[0].ends_with("parts/w.bin"));
  }
}

TEST(ExternalData, OutsideTheFolderOrTheFileIsRefused) {
  const TemporaryFolder tmp, other;
  write(tmp / "w.bin", bytes_of({1, 2, 3, 4}));
  write(other / "secret", bytes_of({1, 2, 3, 4}));
  std::filesystem::create_symlink(other / "secret", tmp / "link");
  std::filesystem::create_directory(tmp / "folder");
  struct Bad {
    std::vector<std::pair<std::string, std::string>> entries;
    ErrorCode code;
    const char* part;
  };
  const std::string absolute = other / "secret";
  for (const Bad& bad : {Bad{{{"location", "absent.bin"}}, ErrorCode::kNotFound, "copy it there"},
                         Bad{{{"location", "../w.bin"}}, ErrorCode::kUnsupported, "leads out of"},
                         Bad{{{"location", "folder/../../w.bin"}}, ErrorCode::kUnsupported, "leads out of"},
                         Bad{{{"location", absolute}}, ErrorCode::kUnsupported, "absolute path"},
                         Bad{{{"location", "link"}}, ErrorCode::kUnsupported, "a link out of"},
                         Bad{{{"location", "folder"}}, ErrorCode::kInvalidArgument, "not a file"},
                         Bad{{{"location", std::string("w.bin\0", 6)}}, ErrorCode::kUnsupported, "no name"},
                         Bad{{{"location", ""}}, ErrorCode::kUnsupported, "no name"},
                         Bad{{{"location", "w.bin"}, {"offset", "4"}}, ErrorCode::kFormat, "has only 16"},
                         Bad{{{"location", "w.bin"}, {"offset", "18446744073709551615"}}, ErrorCode::kFormat, "has only 16"},
                         Bad{{{"location", "w.bin"}, {"offset", "18446744073709551616"}}, ErrorCode::kFormat, "no number"},
                         Bad{{{"location", "w.bin"}, {"offset", "-1"}}, ErrorCode::kFormat, "no number"},
                         Bad{{{"location", "w.bin"}, {"length", "12"}}, ErrorCode::kFormat, "12 bytes"}}) {
    write(tmp / "m.onnx", external(bad.entries).bytes());
    ErrorCode code{};
    expect_all(error_text([&] { Model::from_file(tmp / "m.onnx"); }, &code), {"'a'", bad.part});
    EXPECT_EQ(code, bad.code) << bad.part;
  }
  ErrorCode code{};
  expect_all(error_text([&] { external({{"location", "w.bin"}}).model(); }, &code), {"'a'", "came as bytes"});
  EXPECT_EQ(code, ErrorCode::kUnsupported);
}

// The caches of model hubs: model and weights are links to where both lie.
TEST(ExternalData, LinksToWhereTheModelLies) {
  const TemporaryFolder tmp;
  std::filesystem::create_directory(tmp / "blobs");
  std::filesystem::create_directory(tmp / "snapshot");
  write(tmp / "blobs/1", external({{"location", "m.data"}}).bytes());
  write(tmp / "blobs/2", bytes_of({4, 3, 2, 1}));
  std::filesystem::create_symlink("../blobs/1", tmp / "snapshot/m.onnx");
  std::filesystem::create_symlink("../blobs/2", tmp / "snapshot/m.data");
  EXPECT_EQ(result_of(Model::from_file(tmp / "snapshot/m.onnx")), (std::vector<float>{4, 3, 2, 1}));
}

// Large weights stay in the file until a graph needs them; small ones are read with the rest. The border between the two does not show.
TEST(Weights, OfAllSizesAndStorages) {
  const TemporaryFolder tmp;
  for (int64_t count : {1, 1000, 1024, 1025, 5000}) {
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(i) * 0.5f);
    for (bool raw : {true, false}) {
      ModelMaker m;
      m.filled("zero", {}, 0.0f).node("Add", {"a", "zero"}, {"y"}).output("y");
      if (raw)
        m.initializer("a", {count}, onnx::TensorProto::FLOAT)->set_raw_data(bytes_of(values));
      else
        m.floats("a", {count}, values);
      write(tmp / "m.onnx", m.bytes());
      EXPECT_EQ(result_of(Model::from_file(tmp / "m.onnx")), values) << count << raw;
      EXPECT_EQ(result_of(m.model()), values) << count << raw;
      ModelMaker shorter = m;
      shorter.proto.mutable_graph()->mutable_initializer(1)->set_dims(0, count + 1);
      expect_all(error_text([&] { shorter.model(); }), {"'a'", "the file is damaged"});
    }
  }
}

TEST(Weights, OfEveryElementType) {
  using T = onnx::TensorProto;
  struct Case {
    int type;
    std::string raw;
    std::vector<float> values;
  };
  const std::string quiet("\0", 1);
  for (const Case& c : {
           Case{T::FLOAT16, std::string("\x00\x3c\x00\xc0\x00\x7c", 6), {1, -2, INFINITY}},
           Case{T::BFLOAT16, std::string("\x80\x3f\x00\xc0", 4), {1, -2}},
           Case{T::DOUBLE, std::string("\0\0\0\0\0\0\xf8\x3f", 8), {1.5f}},
           Case{17, std::string("\x38\xc0\x7e", 3), {1, -2, 448}},       // FLOAT8E4M3FN
           Case{18, std::string("\x40\xc8\x7f", 3), {1, -2, 240}},       // FLOAT8E4M3FNUZ
           Case{19, std::string("\x3c\xc0\x7c", 3), {1, -2, INFINITY}},  // FLOAT8E5M2
           Case{20, std::string("\x40\xc4\x7f", 3), {1, -2, 57344}},     // FLOAT8E5M2FNUZ
           Case{23, std::string("\x72\x0f", 2), {1, 6, -6}},             // FLOAT4E2M1
           Case{24, std::string("\x7f\x81", 2), {1, 4}},                 // FLOAT8E8M0
           Case{T::INT8, "\xff\x02", {-1, 2}},
           Case{T::UINT8, "\xff\x02", {255, 2}},
           Case{T::UINT16, "\xff\xff", {65535}},
           Case{T::INT16, "\xff\xff", {-1}},
           Case{T::UINT32, "\xff\xff\xff\xff", {4294967295.0f}},
           Case{T::UINT64, std::string("\x05\0\0\0\0\0\0\0", 8), {5}},
           Case{21, "\xf1\x02", {1, 15, 2}},         // UINT4
           Case{22, "\xf1\x08", {1, -1, -8}},        // INT4
           Case{25, "\xe4\x01", {0, 1, 2, 3, 1}},    // UINT2
           Case{26, "\xe4\x01", {0, 1, -2, -1, 1}},  // INT2
       }) {
    ModelMaker m(21);
    m.initializer("a", {static_cast<int64_t>(c.values.size())}, c.type)->set_raw_data(c.raw);
    m.node("Cast", {"a"}, {"y"}).set("to", int64_t{T::FLOAT}).output("y");
    EXPECT_EQ(result_of(m.model()), c.values) << "type " << c.type;
  }
  ModelMaker odd;
  odd.initializer("a", {1}, 27)->set_raw_data("x");
  odd.node("Cast", {"a"}, {"y"}).set("to", int64_t{T::FLOAT}).output("y");
  expect_all(odd.model().problems().at(0).message, {"'a'", "FLOAT6E2M3"});
}

TEST(Weights, SparseOnesAreFilledIn) {
  ModelMaker m;
  auto& sparse = *m.proto.mutable_graph()->add_sparse_initializer();
  auto& values = *sparse.mutable_values();
  values.set_name("a");
  values.set_data_type(onnx::TensorProto::FLOAT);
  values.add_dims(2);
  values.add_float_data(7);
  values.add_float_data(8);
  auto& indices = *sparse.mutable_indices();
  indices.set_data_type(onnx::TensorProto::INT64);
  indices.add_dims(2);
  indices.add_int64_data(1);
  indices.add_int64_data(5);
  sparse.add_dims(2);
  sparse.add_dims(3);
  m.filled("zero", {}, 0.0f).node("Add", {"a", "zero"}, {"y"}).output("y");
  EXPECT_EQ(result_of(m.model()), (std::vector<float>{0, 7, 0, 0, 0, 8}));
  m.proto.mutable_graph()->mutable_sparse_initializer(0)->mutable_indices()->set_int64_data(1, 6);
  expect_all(error_text([&] { m.model(); }), {"'a'", "out of range"});
  auto& huge = *m.proto.mutable_graph()->mutable_sparse_initializer(0);
  huge.set_dims(0, int64_t{1} << 30);
  expect_all(m.model().problems().at(0).message, {"'a'", "sparse", "limit"});
}

onnx::FunctionProto& add_function(ModelMaker& m, const std::string& name, int64_t opset = 13) {
  auto& function = *m.proto.add_functions();
  function.set_domain("local");
  function.set_name(name);
  function.add_input("in");
  function.add_output("out");
  auto* import = function.add_opset_import();
  import->set_domain("");
  import->set_version(opset);
  return function;
}

onnx::NodeProto& add_node(onnx::FunctionProto& function, const std::string& op, const std::vector<std::string>& inputs,
                          const std::string& output, const std::string& domain = {}) {
  auto& node = *function.add_node();
  node.set_op_type(op);
  node.set_domain(domain);
  for (const auto& input : inputs) node.add_input(input);
  node.add_output(output);
  return node;
}

ModelMaker calling(const std::string& function) {
  ModelMaker m;
  auto* import = m.proto.add_opset_import();
  import->set_domain("local");
  import->set_version(1);
  m.floats("a", {2}, {-1, 2}).node(function, {"a"}, {"y"}, "call").output("y");
  m.last->set_domain("local");
  return m;
}

TEST(Functions, NestedWithAttributesByReference) {
  ModelMaker m = calling("Outer");
  auto& inner = add_function(m, "Inner");
  inner.add_attribute("slope");
  auto& leak = *add_node(inner, "LeakyRelu", {"in"}, "out").add_attribute();
  leak.set_name("alpha");
  leak.set_type(onnx::AttributeProto::FLOAT);
  leak.set_ref_attr_name("slope");
  auto& outer = add_function(m, "Outer");
  auto& call = add_node(outer, "Inner", {"in"}, "h", "local");
  auto& slope = *call.add_attribute();
  slope.set_name("slope");
  slope.set_type(onnx::AttributeProto::FLOAT);
  slope.set_f(0.5f);
  add_node(outer, "Add", {"h", "in"}, "out");
  EXPECT_EQ(result_of(m.model()), (std::vector<float>{-1.5f, 4}));
  call.clear_attribute();  // the operator's own default, 0.01
  EXPECT_NEAR(result_of(m.model()).at(0), -1.01f, 1e-6);
}

TEST(Functions, WithTheirOwnOperatorSet) {
  ModelMaker m = calling("Mean");
  auto& function = add_function(m, "Mean", 18);  // axes are an input there, and an attribute in the model's opset 13
  auto& axes = *add_node(function, "Constant", {}, "axes").add_attribute();
  axes.set_name("value_ints");
  axes.set_type(onnx::AttributeProto::INTS);
  axes.add_ints(0);
  add_node(function, "ReduceMean", {"in", "axes"}, "out");
  EXPECT_EQ(result_of(m.model()), (std::vector<float>{0.5f}));
}

// Fields of newer definitions: an overload (8 of a node, 13 of a function), default attributes (11). Written by hand, as the onnx.proto at
// hand may not have them.
TEST(Functions, OverloadsAndDefaultAttributes) {
  ModelMaker m;
  m.floats("a", {2}, {-1, 2}).output("y");
  const auto field = [](int number, const std::string& content) {
    return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(content.size()) + content;
  };
  std::string model = m.bytes();
  const std::string call = field(1, "a") + field(2, "y") + field(4, "F") + field(7, "local") + field(8, "two");
  model += field(7, field(1, call));  // merged into the graph
  for (const std::string overload : {"one", "two"}) {
    const std::string alpha = field(1, "alpha") + std::string("\x15\0\0", 3) +
                              (overload == "two" ? std::string("\x80\x3f", 2) : std::string(2, '\0')) + std::string("\xa0\x01\x01", 3);
    const std::string reference = field(1, "alpha") + std::string("\xa0\x01\x01\xaa\x01\x05", 6) + "alpha";
    const std::string node = field(1, "in") + field(2, "out") + field(4, "Elu") + field(5, reference);
    model += std::string("\xca\x01", 2);
    const std::string body = field(1, "F") + field(4, "in") + field(5, "out") + field(7, node) +
                             field(9, field(1, "") + std::string("\x10\x0d", 2)) + field(10, "local") + field(11, alpha) +
                             field(13, overload);
    model += static_cast<char>(body.size()) + body;
  }
  const std::vector<float> y = result_of(ModelMaker::parse(model));
  ASSERT_EQ(y.size(), 2u);
  EXPECT_NEAR(y[0], std::exp(-1.0f) - 1, 1e-6) << "ELU with alpha 1, the default of the overload that is called";
}

TEST(Functions, ThatCallThemselvesOrMultiplyAreRefused) {
  ModelMaker self = calling("F");
  add_node(add_function(self, "F"), "F", {"in"}, "out", "local");
  ErrorCode code{};
  expect_all(error_text([&] { self.model(); }, &code), {"'F'", "calls itself"});
  EXPECT_EQ(code, ErrorCode::kFormat);

  ModelMaker bomb = calling("F0");  // 2^24 nodes from 25 functions
  for (int level = 0; level < 24; ++level) {
    auto& function = add_function(bomb, "F" + std::to_string(level));
    add_node(function, "F" + std::to_string(level + 1), {"in"}, "h", "local");
    add_node(function, "F" + std::to_string(level + 1), {"h"}, "out", "local");
  }
  add_node(add_function(bomb, "F24"), "Relu", {"in"}, "out");
  expect_all(error_text([&] { bomb.model(); }, &code), {"too large", "functions"});
  EXPECT_EQ(code, ErrorCode::kUnsupported);

  ModelMaker twice = calling("F");
  add_node(add_function(twice, "F"), "Relu", {"in"}, "out");
  add_node(add_function(twice, "F"), "Neg", {"in"}, "out");
  expect_all(error_text([&] { twice.model(); }), {"'F'", "twice"});
}

// A graph inside of a node: `nodes` as (op, inputs, output).
onnx::GraphProto body_of(const std::vector<std::string>& inputs,
                         const std::vector<std::tuple<std::string, std::vector<std::string>, std::string>>& nodes,
                         const std::vector<std::string>& outputs) {
  onnx::GraphProto graph;
  for (const auto& name : inputs) graph.add_input()->set_name(name);
  for (const auto& [op, read, written] : nodes) {
    auto& node = *graph.add_node();
    node.set_op_type(op);
    for (const auto& name : read) node.add_input(name);
    node.add_output(written);
  }
  for (const auto& name : outputs) graph.add_output()->set_name(name);
  return graph;
}

void set_graph(ModelMaker& m, const char* name, const onnx::GraphProto& graph) {
  *m.attribute(name, onnx::AttributeProto::GRAPH)->mutable_g() = graph;
}

TEST(ControlFlow, IfOverAConstant) {
  for (bool truth : {true, false}) {
    ModelMaker m;
    m.floats("a", {2}, {-1, 2});
    m.initializer("c", {}, onnx::TensorProto::BOOL)->add_int32_data(truth);
    m.node("Neg", {"a"}, {"h"}).node("If", {"c"}, {"y"}, "choice").output("y");
    set_graph(m, "then_branch", body_of({}, {{"Relu", {"h"}, "h2"}, {"Add", {"h2", "a"}, "r"}}, {"r"}));  // captures h and a
    set_graph(m, "else_branch", body_of({}, {}, {"h"}));                                                  // nothing but what is outside
    EXPECT_EQ(result_of(m.model()), truth ? (std::vector<float>{0, 2}) : (std::vector<float>{1, -2}));
  }
}

TEST(ControlFlow, ConditionsFromShapesAreKnownAndFromPicturesAreNot) {
  ModelMaker m;
  m.input("x", {-1, 3, 4, 4}).ints("four", {}, {4}).ints("two", {}, {2}).ints("zero", {}, {0});
  m.node("Shape", {"x"}, {"s"}).node("Gather", {"s", "two"}, {"h"}).node("Equal", {"h", "four"}, {"c"});
  m.node("If", {"c"}, {"y"}).output("y");
  set_graph(m, "then_branch", body_of({}, {{"Relu", {"x"}, "r"}}, {"r"}));
  set_graph(m, "else_branch", body_of({}, {{"Nonsense", {"x"}, "r"}}, {"r"}));  // not taken, and so no matter
  const Graph graph = m.build({.batch = 2});
  EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{2, 3, 4, 4}));

  ModelMaker open;
  open.input("x", {1, 2}).filled("limit", {}, 1.0f).ints("axes", {2}, {0, 1});
  open.node("ReduceSum", {"x", "axes"}, {"sum"}).set("keepdims", int64_t{0}).node("Less", {"sum", "limit"}, {"c"});
  open.node("If", {"c"}, {"y"}, "choice").output("y");
  set_graph(open, "then_branch", body_of({}, {{"Relu", {"x"}, "r"}}, {"r"}));
  set_graph(open, "else_branch", body_of({}, {{"Neg", {"x"}, "r"}}, {"r"}));
  expect_all(error_text([&] { open.build(); }), {"'choice' (If", "condition", "depends on the model's input"});
}

TEST(ControlFlow, ProblemsInsideAreNamed) {
  ModelMaker m;
  m.input("x", {1, 2});
  m.initializer("c", {}, onnx::TensorProto::BOOL)->add_int32_data(1);
  m.node("If", {"c"}, {"y"}, "choice").output("y");
  set_graph(m, "then_branch", body_of({}, {{"Nonsense", {"x"}, "r"}}, {"r"}));
  set_graph(m, "else_branch", body_of({}, {{"Neg", {"x"}, "r"}}, {"r"}));
  expect_all(error_text([&] { m.build(); }), {"'choice' (If", "Nonsense_0", "unknown operator"});
  ModelMaker undefined;
  undefined.initializer("c", {}, onnx::TensorProto::BOOL)->add_int32_data(1);
  undefined.node("If", {"c"}, {"y"}, "choice").output("y");
  set_graph(undefined, "then_branch", body_of({}, {{"Neg", {"nowhere"}, "r"}}, {"r"}));
  set_graph(undefined, "else_branch", body_of({}, {{"Neg", {"nowhere"}, "r"}}, {"r"}));
  expect_all(error_text([&] { undefined.build(); }), {"'nowhere'", "inside of node 'choice'"});
}

// v -> v + a, three times; the squares are stacked.
TEST(ControlFlow, LoopOverAConstant) {
  ModelMaker m;
  m.floats("a", {2}, {1, 2}).ints("turns", {}, {3});
  m.node("Loop", {"turns", "", "a"}, {"last", "y"}, "loop").output("y").output("last");
  set_graph(m, "body",
            body_of({"i", "go", "v"}, {{"Add", {"v", "a"}, "v2"}, {"Mul", {"v2", "v2"}, "square"}, {"Identity", {"go"}, "on"}},
                    {"on", "v2", "square"}));
  const Graph graph = m.build();
  EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{3, 2}));
  EXPECT_EQ(elements<float>(*graph.value(graph.outputs()[0]).constant), (std::vector<float>{4, 16, 9, 36, 16, 64}));
  EXPECT_EQ(elements<float>(*graph.value(graph.outputs()[1]).constant), (std::vector<float>{4, 8}));
  ModelMaker endless = m;
  endless.proto.mutable_graph()->mutable_node(0)->set_input(0, "");
  expect_all(error_text([&] { endless.build(); }), {"'loop' (Loop", "turns", "limit"});
}

// Two turns inside of three.
TEST(ControlFlow, LoopInALoop) {
  ModelMaker m;
  m.floats("a", {1}, {1}).ints("three", {}, {3}).ints("two", {}, {2});
  m.node("Loop", {"three", "", "a"}, {"y"}, "loop").output("y");
  onnx::GraphProto outer = body_of({"i", "go", "v"}, {{"Loop", {"two", "", "v"}, "w"}, {"Identity", {"go"}, "on"}}, {"on", "w"});
  auto& attribute = *outer.mutable_node(0)->add_attribute();
  attribute.set_name("body");
  attribute.set_type(onnx::AttributeProto::GRAPH);
  *attribute.mutable_g() = body_of({"j", "go2", "v"}, {{"Add", {"v", "v"}, "v2"}, {"Identity", {"go2"}, "on2"}}, {"on2", "v2"});
  set_graph(m, "body", outer);
  EXPECT_EQ(result_of(m.model()), (std::vector<float>{64}));
}

TEST(ControlFlow, ScanBothWays) {
  for (int64_t backwards : {0, 1}) {
    ModelMaker m;
    m.floats("start", {1}, {0}).floats("x", {1, 3}, {1, 2, 3});
    m.node("Scan", {"start", "x"}, {"sum", "y"}, "scan").set("num_scan_inputs", int64_t{1}).set("scan_input_axes", std::vector<int64_t>{1});
    m.set("scan_input_directions", std::vector<int64_t>{backwards}).set("scan_output_axes", std::vector<int64_t>{1}).output("y");
    set_graph(m, "body", body_of({"s", "e"}, {{"Add", {"s", "e"}, "s2"}, {"Identity", {"s2"}, "o"}}, {"s2", "o"}));
    EXPECT_EQ(result_of(m.model()), backwards ? (std::vector<float>{3, 5, 6}) : (std::vector<float>{1, 3, 6}));
  }
}

TEST(Quantised, PairsBecomeTheClippingTheyDo) {
  ModelMaker m;
  m.floats("a", {4}, {-1, 0.26f, 3, 40}).floats("s", {}, {0.1f});
  m.initializer("z", {}, onnx::TensorProto::UINT8)->add_int32_data(0);  // 0 to 25.5: a ReLU was left to the quantisation
  m.node("QuantizeLinear", {"a", "s", "z"}, {"q"}).node("DequantizeLinear", {"q", "s", "z"}, {"y"}).output("y");
  const std::vector<float> y = result_of(m.model());
  EXPECT_EQ(y[0], 0);
  EXPECT_EQ(y[1], 0.26f) << "not rounded to 0.3";
  EXPECT_EQ(y[2], 3);
  EXPECT_FLOAT_EQ(y[3], 25.5f);
  ASSERT_EQ(m.model().notices().size(), 1u);
  expect_all(m.model().notices()[0], {"quantised", "float form"});
}

TEST(Quantised, WeightsByChannelAndByBlock) {
  ModelMaker m(21);
  auto* w = m.initializer("w", {2, 4}, onnx::TensorProto::INT8);
  for (int v : {1, 2, 3, 4, -1, -2, -3, -4}) w->add_int32_data(v);
  m.floats("by_row", {2}, {0.5f, 2}).floats("by_block", {2, 2}, {1, 10, 100, 1000});
  auto* zero = m.initializer("zero", {2}, onnx::TensorProto::INT8);
  zero->add_int32_data(1);
  zero->add_int32_data(0);
  m.node("DequantizeLinear", {"w", "by_row", "zero"}, {"y"}).set("axis", int64_t{0}).output("y");
  m.node("DequantizeLinear", {"w", "by_block"}, {"b"}).set("axis", int64_t{1}).set("block_size", int64_t{2}).output("b");
  const Graph graph = m.build();
  EXPECT_EQ(elements<float>(*graph.value(graph.outputs()[0]).constant), (std::vector<float>{0, 0.5f, 1, 1.5f, -2, -4, -6, -8}));
  EXPECT_EQ(elements<float>(*graph.value(graph.outputs()[1]).constant), (std::vector<float>{1, 2, 30, 40, -100, -200, -3000, -4000}));
}

// (x - z) * s through an integer product and back: the scales cancel as they should.
TEST(Quantised, DynamicQuantisationIsTheFloatProduct) {
  ModelMaker m;
  m.input("x", {1, 2});
  auto* w = m.initializer("w", {2, 2}, onnx::TensorProto::INT8);
  for (int v : {1, 2, 3, 4}) w->add_int32_data(v);
  m.floats("ws", {}, {0.5f}).node("DynamicQuantizeLinear", {"x"}, {"q", "s", "z"}).node("MatMulInteger", {"q", "w", "z"}, {"i"});
  m.node("Cast", {"i"}, {"f"}).set("to", int64_t{onnx::TensorProto::FLOAT}).node("Mul", {"s", "ws"}, {"scale"});
  m.node("Mul", {"f", "scale"}, {"y"}).output("y");
  const Graph graph = m.build();
  ASSERT_EQ(graph.nodes().size(), 2u) << graph.dump();
  EXPECT_EQ(graph.nodes()[0].op(), OpKind::kMatMul);
  EXPECT_EQ(elements<float>(*graph.value(graph.nodes()[0].inputs[1]).constant), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(elements<float>(*graph.value(graph.nodes()[1].inputs[1]).constant), (std::vector<float>{0.5f}));
}

TEST(Quantised, ConvolutionsOfIntegersAreConvolutionsOfReals) {
  ModelMaker m;
  m.input("x", {1, 1, 3, 3}).floats("s", {}, {0.1f}).floats("ws", {2}, {0.5f, 2});
  m.initializer("z", {}, onnx::TensorProto::UINT8)->add_int32_data(128);
  auto* wz = m.initializer("wz", {2}, onnx::TensorProto::INT8);
  auto* w = m.initializer("w", {2, 1, 1, 1}, onnx::TensorProto::INT8);
  for (int v : {4, -3}) w->add_int32_data(v), wz->add_int32_data(0);
  auto* b = m.initializer("b", {2}, onnx::TensorProto::INT32);
  for (int v : {20, -10}) b->add_int32_data(v);
  m.node("QuantizeLinear", {"x", "s", "z"}, {"q"}).node("QLinearConv", {"q", "s", "z", "w", "ws", "wz", "s", "z", "b"}, {"r"}, "conv");
  m.set("strides", std::vector<int64_t>{2, 2}).node("DequantizeLinear", {"r", "s", "z"}, {"y"}).output("y");
  const Graph graph = m.build();
  ASSERT_EQ(graph.nodes().size(), 3u) << graph.dump();  // clip, convolution, clip
  const Node& conv = graph.nodes()[1];
  ASSERT_EQ(conv.op(), OpKind::kConv);
  EXPECT_EQ(std::get<ConvAttrs>(conv.attrs).strides, (std::array<int64_t, 2>{2, 2}));
  EXPECT_EQ(elements<float>(*graph.value(conv.inputs[1]).constant), (std::vector<float>{2, -6}));
  const auto bias = elements<float>(*graph.value(conv.inputs[2]).constant);
  EXPECT_FLOAT_EQ(bias[0], 1.0f);
  EXPECT_FLOAT_EQ(bias[1], -2.0f);
  EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{1, 2, 2, 2}));
}

TEST(Choices, PictureWithChannelsLastAndOtherInputsFixed) {
  ModelMaker m;
  m.input("image", {-1, 4, 5, 3}, onnx::TensorProto::UINT8).input("flag", {1}).input("other", {1, 3, 4, 4});
  m.node("Cast", {"image"}, {"f"}).set("to", int64_t{onnx::TensorProto::FLOAT}).node("Mul", {"f", "flag"}, {"g"});
  m.node("Transpose", {"g"}, {"y"}).set("perm", std::vector<int64_t>{0, 3, 1, 2}).output("y").output("f");
  BuildOptions options{
      .batch = 2, .outputs = {"y"}, .fixed_inputs = {{"flag", 2.0}, {"other", 0.0}}, .picture = "image", .picture_channels_last = true};
  const Graph graph = m.build(options);
  ASSERT_EQ(graph.inputs().size(), 1u);
  EXPECT_EQ(graph.value(graph.inputs()[0]).shape, (Shape{2, 3, 4, 5}));
  EXPECT_EQ(graph.value(graph.inputs()[0]).dtype, DType::kF32);
  ASSERT_EQ(graph.outputs().size(), 1u);
  EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{2, 3, 4, 5}));
  options.outputs = {"nothing"};
  expect_all(error_text([&] { m.build(options); }), {"no value 'nothing'"});
  options.outputs.clear();
  options.fixed_inputs["nothing"] = 1;
  expect_all(error_text([&] { m.build(options); }), {"no input 'nothing'", "'flag'"});
}

// Same nodes and shapes, and no weights read.
TEST(Choices, StructureOnlyIsTheSameGraph) {
  ModelMaker m;
  m.input("x", {1, 8, 6, 6}).filled("w", {64, 8, 3, 3}, 0.5f).filled("v", {64}, 1.0f);
  m.node("Conv", {"x", "w"}, {"c"}).node("BatchNormalization", {"c", "v", "v", "v", "v"}, {"y"}).output("y");
  const TemporaryFolder tmp;
  write(tmp / "m.onnx", m.bytes());
  const Model model = Model::from_file(tmp / "m.onnx");
  const Graph outline = model.build({.structure_only = true}), whole = model.build();
  EXPECT_EQ(outline.dump(), whole.dump());
  EXPECT_EQ(*outline.value(outline.nodes()[0].inputs[1]).constant->data<float>(), 0.0f);
  EXPECT_NEAR(*whole.value(whole.nodes()[0].inputs[1]).constant->data<float>(), 0.5f, 1e-5);
}

}  // namespace
}  // namespace actmatch::onnx_import
