// Functions of the file, and graphs inside of nodes.
#include <gtest/gtest.h>

#include <cmath>

#include "model_maker.h"

namespace actmatch::onnx_import {
namespace {

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
  ModelMaker long_one = m;  // its condition comes from outside
  long_one.initializer("always", {}, onnx::TensorProto::BOOL)->add_int32_data(1);
  long_one.ints("many", {}, {int64_t{1} << 40});
  auto& loop = *long_one.proto.mutable_graph()->mutable_node(0);
  loop.set_input(0, "many");
  loop.mutable_attribute(0)->mutable_g()->mutable_output(0)->set_name("always");
  expect_all(error_text([&] { long_one.build(); }), {"'loop' (Loop", "turns", "limit"});
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

}  // namespace
}  // namespace actmatch::onnx_import
